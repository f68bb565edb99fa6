"""From the text of a train_gpt.py to plain source: self-extracting wrappers are opened by reading, never by running.

Many submissions ship code that is packed to save bytes, typically `exec(lzma.decompress(base64.b85decode("...")))`, in
several layers, or a stub that executes another file. Only the syntax tree and literal bytes are used. Where they do
not say what is executed, somebody who may run the stub in a box can be asked (`Shows`): the answer is a text like any
other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from harness.source.literals import Literals, Sibling, Unknown, straight
from harness.source.splicing import alone, at, covers, executes_once, is_harmless, looks, parse, spliced

__all__ = ["LIMIT", "Layer", "Shown", "Shows", "Unwrapped", "parse", "unwrap"]

LIMIT = 8 << 20
_DEPTH = 8
#: A file with fewer statements than this that hands over to another file is a stub.
_STUB = 12
_WRITES = {"w", "wb", "wt", "x", "xb"}  # modes
_PATH = 200  # letters of a name
#: Packages that models are made with.
_TRAINS = {"torch", "numpy", "mlx", "jax", "tinygrad", "tensorflow", "cupy", "triton"}
#: Those of them that start files.
_STARTS = {"runpy", "subprocess", "system", "popen", "execv", "execve", "execvp", "execvpe"}
_IMPORTS = re.compile(r"^(?:import|from) torch\b", re.M)
_MAKES = re.compile(r"\bexec\b|(?<!\.)\beval\b|runpy|marshal|CodeType|FunctionType|__builtin|\bbuiltins\b|sys\.path\b")
#: Names without which a text executes no code but its own.
_EXECUTES = {
    "exec", "eval", "compile", "__import__", "importlib", "subprocess", "builtins", "__builtins__", "runpy", "getattr",
    "pickle", "ctypes", "multiprocessing", "marshal", "system", "popen",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One wrapper around the code.

    Attributes:
        how: what runs it, e.g. "exec(lzma(base85))" or "exec(train_gpt_decode.py)".
        line: line of the call in the text that wraps.
        packed: bytes of the text that wraps.
        plain: bytes of the text inside.
        ran: it was opened by running the stub in a box, because reading did not open it.
    """

    how: str
    line: int
    packed: int
    plain: int
    ran: bool = False


@dataclass(frozen=True)
class Unwrapped:
    """What a script really says.

    Attributes:
        source: the innermost text that could be reached.
        layers: the wrappers, outermost first.
        runs_file: the file that a stub executes or imports, as it names it; None without one.
        problem: what could not be opened and why; None when everything could.
        made: where a text that is no mere wrapper makes further code while it runs, which cannot be read; None for
            most.
    """

    source: str
    layers: tuple[Layer, ...] = ()
    runs_file: str | None = None
    problem: str | None = None
    made: str | None = None

    @property
    def unseen(self) -> str | None:
        """Why not all code that the script runs is in `source` and the files beside it; None where it is."""
        return self.problem or self.made


@dataclass(frozen=True)
class Shown:
    """What a stub would have executed, as somebody saw who ran it. Not to be believed further than a text can be.

    Attributes:
        text: the code.
        how: what would have executed it: "exec", "a file that it wrote", "a new process".
        lines: of the wrapping text, from the module's statement that was at work to the call, outermost first.
        variables: environment variables that a new process would have been given beside its parent's.
        problem: why there is no such text; None where there is one.
    """

    text: str = ""
    how: str = ""
    lines: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


#: Runs a stub until it would execute something.
Shows = Callable[[str], Shown]


def unwrap(
    text: str | bytes,
    *,
    limit: int = LIMIT,
    sibling: Sibling | None = None,
    shows: Shows | None = None,
    helper: bool = False,
) -> Unwrapped:
    """Open all wrappers around a script. Any input is fine; what cannot be opened is said in `problem`.

    Args:
        text: the file.
        limit: most bytes that a layer may unpack to.
        sibling: reads a file next to the script, for stubs that execute one; without it they stay closed.
        shows: runs a stub that reading does not open; without it such stubs stay closed.
        helper: it is a file beside the script, and need not train anything.
    """
    if isinstance(text, bytes):
        content, text = text, text.decode("utf-8-sig", "replace")
        if "\ufffd" in text and "\ufffd".encode() not in content:
            return Unwrapped(text, problem="the file is not UTF-8 text")
    if len(text) > limit:
        return Unwrapped(text, problem=f"the file is larger than {limit:,} bytes")
    done = Unwrapped(text)
    for _ in range(_DEPTH):
        opened = _open_once(done, limit, sibling, helper)
        if opened is None:
            return done
        if opened.unseen and shows is not None:
            opened = _run_once(opened, shows, limit)
        done = opened
        if done.unseen or len(done.layers) == 0:
            return done
    return replace(done, problem=f"there are more than {_DEPTH} wrappers inside each other")


def _open_once(done: Unwrapped, limit: int, sibling: Sibling | None, helper: bool) -> Unwrapped | None:
    """One layer less, or why not; None where there is none."""
    tree = parse(done.source)
    if tree is None:
        return None
    if not _MAKES.search(done.source) and _IMPORTS.search(done.source) and not _stub(tree):
        return None  # most scripts
    known = Literals(tree, limit, sibling)
    why = None
    for statement in straight(tree.body):
        try:
            if not (isinstance(statement, ast.Expr) and (call := _executed(statement.value, known))):
                continue
            around = (n for n, node in enumerate(tree.body) if any(part is statement for part in ast.walk(node)))
            index = next(around)
            value = known.value(call.args[0], statement)
            if isinstance(value, (bytes, bytearray)):
                value = value.decode("utf-8", "replace")
            if not isinstance(value, str):
                raise Unknown("what exec is given is no text")
            given = _given(call.args[1:], call.keywords, known)
            place = alone([tree.body[index]], statement.lineno, tree)
            if isinstance(place, str):
                raise Unknown(place)
            if place is not statement:
                raise Unknown("it executes more than one text there")
        except Unknown as reason:
            why = f"line {statement.lineno}: {reason}"
            break
        inside = spliced(tree, index, done.source, value, given)
        layer = Layer(_how(known), statement.lineno, len(done.source.encode()), len(value.encode()))
        file = known.opened[-1] if known.opened else done.runs_file
        return Unwrapped(inside, (*done.layers, layer), file, None)
    file = known.opened[-1] if why and known.opened else done.runs_file
    if why and (file != done.runs_file or _stub(tree)):
        return replace(done, runs_file=file, problem=why)
    if why is None and (imported := _imported(tree, known, sibling)) and done.runs_file is None:
        return replace(done, runs_file=imported)
    made = why or next((f"line {line}: {what}" for line, what in _makes(tree, known, sibling)), None)
    if made and _stub(tree):
        return replace(done, problem=made)
    if made:
        return replace(done, made=made)
    if done.runs_file is None and not helper and _hides(tree, sibling):
        return replace(done, problem="it trains nothing, and does not name the file that does")
    return None


def _run_once(done: Unwrapped, shows: Shows, limit: int) -> Unwrapped:
    """One layer less, by what running it shows; or why that shows nothing that may stand for it."""
    tree = parse(done.source)
    assert tree is not None
    shown = shows(done.source)
    why = shown.problem
    inside = ""
    if why is None and len(shown.text.encode()) > limit:
        why = f"it unpacks to more than {limit:,} bytes"
    if why is None:
        try:
            inside = _placed(tree, done.source, shown)
        except Unknown as reason:
            why = str(reason)
    if why is not None:
        ran = f"its stub was run in the box: {why}"
        if done.problem:
            return replace(done, problem=f"{done.problem}; {ran}")
        return replace(done, made=f"{done.made}; {ran}")
    layer = Layer(shown.how, shown.lines[0], len(done.source.encode()), len(shown.text.encode()), ran=True)
    return Unwrapped(inside, (*done.layers, layer), None)


def _placed(tree: ast.Module, outside: str, shown: Shown) -> str:
    """The wrapper with the shown text in the place of what executes it.

    Raises:
        Unknown: the text is not all that is executed there, or not as it would be.
    """
    if not shown.lines:
        raise Unknown("it is not known what executes the code")
    index = at(tree.body, shown.lines[0], tree)
    if index is None:
        raise Unknown(f"line {shown.lines[0]}: it is not known what executes the code")
    place = alone([tree.body[index]], shown.lines[0], tree)
    for line in shown.lines[1:]:
        if isinstance(place, str):
            break
        if covers(place, line):
            continue
        body = _body(tree, line)
        place = alone(body, line, tree) if body else f"line {line}: it is not known what executes the code"
    if isinstance(place, str):
        raise Unknown(place)
    imports = isinstance(place, (ast.Import, ast.ImportFrom)) and shown.how == "a file that it wrote"
    if not imports and not executes_once(place, tree):
        raise Unknown(f"line {place.lineno}: it does more there than execute one text")
    if not imports and not isinstance(place, ast.Expr) and len(tree.body) > index + 1:
        if any(not _exits(node) for node in tree.body[index + 1 :]):
            raise Unknown(f"line {place.lineno}: what is done with the outcome is not followed")
    if (outside_look := looks(tree, index)) is not None:
        raise Unknown("line {}: what is executed may depend on where it runs ({})".format(*outside_look))
    given: dict[str, str] = {}
    if shown.how == "exec" and isinstance(place, ast.Expr) and isinstance(place.value, ast.Call):
        call = place.value
        given = _given(call.args[1:], call.keywords, Literals(tree, LIMIT))
    if isinstance(place, (ast.Import, ast.ImportFrom)):
        given = _imports(place, shown.text)
    text = shown.text
    if shown.variables:
        lines = [f"os.environ[{name!r}] = {value!r}" for name, value in sorted(shown.variables.items())]
        given = {}
        text = _after_future(text, ["import os", *lines])
    return spliced(tree, index, outside, text, given)


def _imports(node: ast.Import | ast.ImportFrom, text: str) -> dict[str, str]:
    """What an import of the text leaves that running it in the import's place does not.

    Raises:
        Unknown: more than the text is imported there.
    """
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
    if len(names) != 1 or any(name.asname for name in node.names if isinstance(node, ast.ImportFrom)):
        raise Unknown(f"line {node.lineno}: it imports more there than one text")
    given = {"__name__": repr(names[0])} if "__name__" in text else {}
    if isinstance(node, ast.Import):
        given[(node.names[0].asname or names[0]).partition(".")[0]] = "__import__('sys').modules['__main__']"
    return given


def _after_future(text: str, lines: list[str]) -> str:
    return "; ".join(lines) + "\n" + text


def _exits(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Expr, ast.Raise)) and "xit" in ast.unparse(node)[:24]


def _body(tree: ast.Module, line: int) -> list[ast.stmt] | None:
    """The statements of the innermost function around a line."""
    around = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and covers(node, line)]
    return max(around, key=lambda node: node.lineno).body if around else None


def _given(args: list[ast.expr], words: list[ast.keyword], known: Literals) -> dict[str, str]:
    """Names that executed code is given beside those of the module, with their values as source.

    Raises:
        Unknown: it runs in names that are not spelled out.
    """
    given: dict[str, str] = {}
    for space in [*args[:2], *(word.value for word in words if word.arg in ("globals", "locals"))]:
        while isinstance(space, ast.Name):
            bound = known.bound(space.id)
            if bound is None:
                raise Unknown(f"it is executed in names that are not spelled out ({space.id})")
            space = bound
        if isinstance(space, ast.Constant) and space.value is None:
            continue
        if isinstance(space, ast.Call) and ast.unparse(space) in _OWN_NAMES:
            continue
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(space, ast.Dict):
            pairs = list(zip(space.keys, space.values, strict=True))
        elif isinstance(space, ast.Call) and ast.unparse(space.func) == "dict" and len(space.args) <= 1:
            pairs = [(None, item) for item in space.args]
            pairs += [(ast.Constant(word.arg) if word.arg else None, word.value) for word in space.keywords]
        else:
            raise Unknown("it is executed in names that are not spelled out")
        for key, value in pairs:
            if key is None and ast.unparse(value) in _OWN_NAMES:
                continue
            name = key.value if isinstance(key, ast.Constant) else None
            if not isinstance(name, str) or not name.isidentifier():
                raise Unknown("it is executed in names that are not spelled out")
            if name == "__name__" and ast.unparse(value) not in ("'__main__'", "__name__"):
                raise Unknown("it is executed under another name than __main__")
            if not name.startswith("__"):
                given[name] = ast.unparse(value)
    return given


_OWN_NAMES = ("globals()", "locals()", "vars()", "globals().copy()", "dict(globals())")


def _executed(node: ast.expr, known: Literals) -> ast.Call | None:
    """The call that executes a text: `exec(...)`, or `eval(compile(...))`.

    Raises:
        Unknown: what is executed is compiled code.
    """
    if not isinstance(node, ast.Call) or not node.args:
        return None
    if not _names(node, known) & {"exec", "eval"}:
        return None
    if isinstance(node.func, ast.Attribute) and known.module(node) not in ("", "builtins"):
        return None
    module, name = known.called(node)
    if module not in ("", "builtins") or isinstance(node.func, ast.Attribute) and not module:
        return None
    if name == "eval" and not (isinstance(node.args[0], ast.Call) and known.called(node.args[0]) == ("", "compile")):
        return None
    if name not in ("exec", "eval"):
        return None
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and _called(part, known)[0] == "marshal":
            raise Unknown("compiled code (marshal) is not opened")
    return node


def _makes(tree: ast.Module, known: Literals, sibling: Sibling | None) -> Iterator[tuple[int, str]]:
    """Where code is executed that is not in the text, and by what."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    yield from _written(tree, sibling)
    yield from _reaches(tree)
    for node in sorted(calls, key=lambda node: node.lineno):
        module, name = _called(node, known)
        own = isinstance(node.func, ast.Name) or module == "builtins"
        if own and name == "exec" or (own and name == "eval" and node.args and not _spelled_out(node.args[0])):
            yield node.lineno, f"{name}() is given code that reading does not follow"
        elif (module, name) in (("marshal", "loads"), ("types", "CodeType"), ("types", "FunctionType")):
            yield node.lineno, "compiled code (marshal) is not opened"
        elif module == "runpy" and not _beside(node if _writes(tree) else tree, sibling):
            yield node.lineno, f"runpy.{name}() runs a file that is not in the folder"


def _written(tree: ast.Module, sibling: Sibling | None) -> Iterator[tuple[int, str]]:
    """Imports of modules that are in no file of the folder, and whose files the text names and may write."""
    spelled = {part.value for part in ast.walk(tree) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    files = {PurePosixPath(text).stem for text in spelled if text.endswith(".py") and len(text) < _PATH}
    if not files or not spelled & _WRITES:
        return
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        for name in names:
            top = name.partition(".")[0]
            if top in files and not is_harmless(top) and sibling is not None and sibling(f"{top}.py") is None:
                yield getattr(node, "lineno", 1), f"the script writes the module {top} itself"


def _called(node: ast.Call, known: Literals) -> tuple[str, str]:
    """As `Literals.called`, where it does not matter whether the module may have been changed."""
    try:
        return known.called(node)
    except Unknown:
        return known.module(node), getattr(node.func, "attr", "")


def _names(node: ast.Call, known: Literals) -> set[str]:
    """What a call's function is called: here, and where it was imported from."""
    if isinstance(node.func, ast.Attribute):
        return {node.func.attr}
    return {node.func.id, known.imported(node.func.id)} if isinstance(node.func, ast.Name) else set()


def _reaches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Where a text gets at `exec` without calling it by its name."""
    plain = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    plain |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr != "__dict__"}
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else None
        if name in ("exec", "builtins", "__builtins__") and id(node) not in plain:
            yield getattr(node, "lineno", 1), f"{name} is used otherwise than by a call of its name"
        elif isinstance(node, ast.Constant) and node.value in ("builtins", "__builtins__"):
            yield node.lineno, f"{node.value} is taken by a text"


def _spelled_out(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not re.search(r"exec|eval|compile|import", str(node.value))


def _writes(tree: ast.Module) -> bool:
    """Whether a text may write files."""
    spelled = [part.value for part in ast.walk(tree) if isinstance(part, ast.Constant)]
    called = {getattr(part, "attr", "") for part in ast.walk(tree)}
    return any(value in _WRITES for value in spelled) or bool(called & {"write_text", "write_bytes"})


def _beside(node: ast.AST, sibling: Sibling | None) -> bool:
    """Whether a call, or a text that writes none itself, names a file of the folder."""
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    names = [text if text.endswith(".py") else text.replace(".", "/") + ".py" for text in texts if text != "__main__"]
    return sibling is None or any(sibling(name) is not None for name in names)


def _hides(tree: ast.Module, sibling: Sibling | None) -> bool:
    """Whether a text can execute code, and imports nothing that a model can be made with, nor code beside it."""
    beside = sibling or (lambda name: b"")
    signs: set[str] = set()
    for node in ast.walk(tree):
        names = [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        for name in names:
            top = name.partition(".")[0]
            if top in _TRAINS or not (is_harmless(top) or beside(f"{top}.py") is None):
                return False
            signs |= set() if is_harmless(top) else {"import"}  # a module that is nowhere yet
        spelled = [*names, *(getattr(node, field, None) for field in ("id", "attr"))]
        signs |= {str(name) for name in spelled if name in _EXECUTES or str(name).startswith(("exec", "spawn"))}
    if signs <= _STARTS and not _writes(tree) and _beside(tree, beside):
        return False  # it starts a file of the folder, and can have made no other
    return bool(signs)


def _stub(tree: ast.Module) -> bool:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) < _STUB


def _imported(tree: ast.Module, known: Literals, sibling: Sibling | None) -> str | None:
    """The file that a short script hands over to by import, runpy or a new process."""
    if not _stub(tree):
        return None
    for node in ast.walk(tree):
        texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        files = [text for text in texts if isinstance(text, str) and PurePosixPath(text).suffix == ".py"]
        if isinstance(node, ast.Call):
            module, name = _called(node, known)
            if (module, name) == ("runpy", "run_path") or module in ("subprocess", "os"):
                if files and (sibling is None or sibling(files[-1]) is not None):
                    return files[-1]
            elif name in ("run_module", "import_module") and texts and isinstance(texts[0], str):
                return texts[0].replace(".", "/") + ".py"
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        for name in names:
            file = name.replace(".", "/") + ".py"
            if sibling is not None and sibling(file) is not None:
                return file
    return None


def _how(known: Literals) -> str:
    inside = known.opened[-1] if known.opened else "..."
    for step in reversed(known.steps):
        inside = step if inside == "..." else f"{step}({inside})"
    return f"exec({inside})"
