"""A wrapper's text with the statement that executes something replaced by what it executes.

What the wrapper does besides stays, in front of the text and behind it: everything but what only unpacks. A statement
is left out when all that it does is to compute with Python's own tools, and nothing that stays reads what it binds.
"""

from __future__ import annotations

import ast
import builtins
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.source.literals import aliases, certain, scope

_BREAKING = (SyntaxError, ValueError, RecursionError, MemoryError)
#: Modules that compute and do nothing else (beside `os` and `sys`, of which some is allowed below).
_UNPACKING = {
    "base64", "binascii", "lzma", "zlib", "bz2", "gzip", "brotli", "zstandard", "zstd", "struct", "array", "codecs",
    "io", "re", "itertools", "functools", "hashlib", "math", "json", "string", "operator", "collections", "pathlib",
    "textwrap", "ast", "random", "typing",
}  # fmt: skip
_OS = {"path", "sep", "fspath"}
_BUILTINS = {
    "abs", "all", "any", "ascii", "bin", "bool", "bytearray", "bytes", "chr", "compile", "dict", "divmod",
    "enumerate", "filter", "float", "frozenset", "hash", "hex", "int", "isinstance", "iter", "len", "list", "map",
    "max", "memoryview", "min", "next", "oct", "ord", "pow", "range", "repr", "reversed", "round",
    "set", "slice", "sorted", "str", "sum", "tuple", "zip", "Exception", "ValueError", "print",
}  # fmt: skip
#: A text that speaks of its own names as texts may read what nothing in it names.
_ASKS = {"globals", "locals", "vars", "__dict__", "eval", "exec", "__main__", "getattr"}

#: Modules whose functions execute code.
_EXECUTING = {"builtins", "runpy", "subprocess", "os", "importlib", "sys"}
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: What tells a wrapper where it runs: whole modules, and some of what `os` and `sys` have.
_OUTSIDE = {
    "time", "datetime", "socket", "platform", "torch", "psutil", "getpass", "inspect", "traceback", "gc", "resource",
    "uuid", "secrets", "urllib", "http", "requests", "glob", "shutil", "ctypes", "threading", "multiprocessing",
    "os.environ", "os.getenv", "os.getpid", "os.getppid", "os.uname", "os.cpu_count", "os.listdir", "os.scandir",
    "os.stat", "os.access", "os.getuid", "os.getlogin", "os.walk", "os.urandom", "os.times", "os.getloadavg",
    "sys.argv", "sys.modules", "sys.flags", "sys.gettrace", "sys.getprofile", "sys._getframe", "sys.orig_argv",
    "sys.stdin", "sys.path", "sys.platform", "sys.addaudithook", "sys.audit", "sys.monitoring", "sys.settrace",
}  # fmt: skip
_ASKS_SYSTEM = {"_getframe", "f_back", "is_available", "device_count"}


def parse(source: str | bytes) -> ast.Module | None:
    """The syntax tree of a text or file, or None where it has none (broken, or nested too deep)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # strangers' escape sequences
            return ast.parse(source)
    except _BREAKING:
        return None


def spliced(
    tree: ast.Module, index: int, outside: str, inside: str, given: Mapping[str, str], *, kept: Sequence[ast.stmt] = ()
) -> str:
    """The text inside, with what the wrapper does besides in front of it and behind it.

    Args:
        tree: of the wrapper.
        index: of the top-level statement that executes the text.
        outside: the wrapper.
        inside: what it executes.
        given: names that it is given, with their values as source.
        kept: statements inside the one that is replaced which stay in front of the text.
    """
    before, after = [*tree.body[:index], *kept], [node for node in tree.body[index + 1 :] if not _ends(node)]
    plain = parse(inside)
    if plain is None:
        return inside
    impure = _impure_functions(tree)
    effects = [node for node in before if not unpacks(node, tree, impure)]
    stays = [node for node in after if not unpacks(node, tree, impure)]
    needed = _free(plain) | {name for node in (*effects, *stays) for name in _read(node)}
    front: list[ast.stmt] = []
    for node in reversed(before):
        binds = set(_binds(node))
        if node in effects or binds & needed:
            front.insert(0, node)
            needed |= _read(node)
    if not (front or stays or given):
        return inside
    pieces = [ast.get_source_segment(outside, node) or ast.unparse(node) for node in front]
    pieces += [f"{name} = {value}" for name, value in given.items()]
    future = [node for node in plain.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for statement in future:
        pieces.insert(0, ast.unparse(statement))
    tail = [ast.get_source_segment(outside, node) or ast.unparse(node) for node in stays]
    return "\n".join([*pieces, _without(inside, future), *tail])


def unpacks(node: ast.stmt, tree: ast.Module, impure: set[str] | None = None) -> bool:
    """Whether all that a statement does is to compute: nothing outside the wrapper's own names is changed by it."""
    impure = _impure_functions(tree) if impure is None else impure
    modules, functions = aliases(tree)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [
            part for value in (*node.args.defaults, *node.args.kw_defaults) if value for part in ast.walk(value)
        ]
        return not node.decorator_list and all(_computes(part, modules, functions, impure) for part in defaults)
    if isinstance(node, ast.ClassDef):
        return False
    return all(_computes(part, modules, functions, impure) for part in ast.walk(node))


def _impure_functions(tree: ast.Module) -> set[str]:
    """Functions of the wrapper that may do more than compute, by name."""
    modules, functions = aliases(tree)
    own = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    impure: set[str] = set()
    while True:
        more = {
            node.name
            for node in own
            if node.name not in impure
            and not all(_computes(part, modules, functions, impure) for line in node.body for part in ast.walk(line))
        }
        if not more:
            return impure
        impure |= more


def _computes(
    node: ast.AST, modules: Mapping[str, str], functions: Mapping[str, tuple[str, str]], impure: set[str]
) -> bool:
    """Whether one node of a syntax tree does nothing that reaches beyond the wrapper's names."""
    if isinstance(node, ast.Import):
        return all(is_harmless(name.name) for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return bool(node.module) and not node.level and is_harmless(str(node.module))
    if isinstance(node, (ast.Global, ast.Nonlocal, ast.Await, ast.Yield, ast.YieldFrom)):
        return False
    if isinstance(node, ast.Attribute):
        base = node.value
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("__"):
            return False
        if isinstance(base, ast.Name) and base.id in modules:
            module = modules[base.id].partition(".")[0]
            return module in _UNPACKING or (module == "os" and node.attr in _OS)
        return True
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return isinstance(node.value, ast.Name) and node.value.id not in modules
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name in functions:
            return functions[name][0].partition(".")[0] in _UNPACKING
        return name not in impure and (name in _BUILTINS or _is_open_to_read(node) or name not in dir(builtins))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return not node.func.attr.startswith(("write", "mkdir", "unlink", "touch", "rename", "symlink", "exec"))
    return not isinstance(node, ast.Call)


def _is_open_to_read(node: ast.Call) -> bool:
    if not (isinstance(node.func, ast.Name) and node.func.id == "open"):
        return False
    modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
    return all(isinstance(mode, ast.Constant) and mode.value in ("r", "rb", "rt") for mode in modes)


def is_harmless(name: str) -> bool:
    """Whether importing a module changes nothing that a script can tell."""
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in _UNPACKING


def _read(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}


def _binds(node: ast.stmt) -> Iterator[str]:
    for part in scope(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            yield part.id
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield part.name
        elif isinstance(part, (ast.Import, ast.ImportFrom)):
            yield from ((name.asname or name.name).split(".")[0] for name in part.names)
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            if isinstance(part.func.value, ast.Name):
                yield part.func.value.id  # a list that is appended to
        elif isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name):
            if not isinstance(part.ctx, ast.Load):
                yield part.value.id


def _free(plain: ast.Module) -> set[str]:
    """Names that a text reads and does not bind first; all that it spells, where it asks for names by text."""
    read: dict[str, int] = {}
    bound: dict[str, int] = {}
    spelled: set[str] = set()
    asks = False
    for part in ast.walk(plain):
        if isinstance(part, ast.Name):
            seen = read if isinstance(part.ctx, ast.Load) else bound
            seen[part.id] = min(part.lineno, seen.get(part.id, part.lineno))
            asks |= part.id in _ASKS
        elif isinstance(part, ast.Attribute):
            asks |= part.attr in _ASKS
        elif isinstance(part, (ast.Import, ast.ImportFrom)):
            for name in part.names:
                bound.setdefault((name.asname or name.name).split(".")[0], 0)
        elif isinstance(part, ast.arg):
            bound.setdefault(part.arg, 0)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.setdefault(part.name, 0)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
            spelled.add(part.value)
    free = {name for name, line in read.items() if name not in bound or line < bound[name]}
    return free | spelled if asks else free


def _ends(node: ast.stmt) -> bool:
    """`sys.exit(...)`, `raise SystemExit(...)`: what stands behind a program that was run."""
    call = node.value if isinstance(node, ast.Expr) else node.exc if isinstance(node, ast.Raise) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) in ("sys.exit", "exit", "quit", "SystemExit")


def alone(block: Sequence[ast.stmt], line: int, tree: ast.Module, impure: Iterable[str] = ()) -> ast.stmt | str:
    """The statement of a block that stands at a line, if the block does nothing but unpack and come to it; or why not.

    Followed into `with`, `try` whose other parts only report, and `if __name__ == "__main__"`.
    """
    number = at(block, line, tree)
    if number is None:
        return f"line {line}: it is not known what executes the code"
    node, spoilt = block[number], set(impure) or _impure_functions(tree)
    for other in (*block[:number], *block[number + 1 :]):
        if not (unpacks(other, tree, spoilt) or _ends(other) or isinstance(other, (ast.Return, ast.Pass))):
            return f"line {other.lineno}: it does more there than unpack and execute"
    if isinstance(node, ast.With):
        return alone(node.body, line, tree, spoilt)
    if isinstance(node, ast.If) and certain(node):
        return alone(node.body, line, tree, spoilt)
    if isinstance(node, ast.Try):
        rest = [*(part for handler in node.handlers for part in handler.body), *node.orelse, *node.finalbody]
        quiet = all(isinstance(part, (ast.Pass, ast.Raise)) or _ends(part) or _cleans(part) for part in rest)
        if quiet and any(covers(part, line) for part in node.body):
            return alone(node.body, line, tree, spoilt)
        return f"line {node.lineno}: what is executed depends on an exception"
    if isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return, ast.Raise, ast.Import, ast.ImportFrom)):
        return node
    if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
        return f"line {node.lineno}: code is executed in a loop"
    return f"line {node.lineno}: what is executed depends on a condition"


def executes_once(node: ast.stmt, tree: ast.Module) -> bool:
    """Whether a statement is one call that may execute a text, and neither a loop over calls nor a call beside one."""
    value = node.exc if isinstance(node, ast.Raise) else getattr(node, "value", None)
    modules, functions = aliases(tree)
    while isinstance(value, ast.Call) and ast.unparse(value.func) in ("sys.exit", "exit", "quit", "SystemExit"):
        value = value.args[0] if value.args else None
        if isinstance(value, ast.Attribute) and value.attr == "returncode":
            value = value.value
    if not isinstance(value, ast.Call):
        return False
    if isinstance(value.func, ast.Name):
        name = value.func.id
        known = functions.get(name, ("", name))[0].partition(".")[0] in ("", *_EXECUTING)
        if not known or (name in dir(builtins) and name not in ("exec", "eval") and name not in functions):
            return False
    if isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Name):
        module = modules.get(value.func.value.id)
        if module is not None and module.partition(".")[0] not in _EXECUTING:
            return False
    impure = _impure_functions(tree)
    for part in ast.walk(value):
        if isinstance(part, ast.Name) and part.id in ("setattr", "delattr"):
            return False
        if isinstance(part, (ast.NamedExpr, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            if not all(_computes(one, modules, functions, impure) for one in ast.walk(part)):
                return False
    return True


def looks(tree: ast.Module, index: int) -> tuple[int, str] | None:
    """Where what a top-level statement executes is made of something that is not in the folder; None where nothing is.

    Followed backwards through the names that the statement reads. Launchers' variables (RANK and others) are left out.
    """
    modules, functions = aliases(tree)
    wanted = _read(tree.body[index])
    made: list[ast.stmt] = [tree.body[index]]
    for node in reversed([*tree.body[:index]]):
        if set(_binds(node)) & wanted and not isinstance(node, (ast.Import, ast.ImportFrom)):
            made.append(node)
            wanted |= _read(node)
    for node in made:
        for part in ast.walk(node):
            found = ""
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                module = modules.get(part.value.id, "")
                where = f"{module}.{part.attr}"
                if module.partition(".")[0] in _OUTSIDE or where in _OUTSIDE or part.attr in _ASKS_SYSTEM:
                    found = where
            elif isinstance(part, ast.Name) and part.id in functions:
                where = ".".join(functions[part.id])
                found = where if where.partition(".")[0] in _OUTSIDE or where in _OUTSIDE else ""
            elif isinstance(part, ast.Constant) and part.value in _OUTSIDE:
                found = str(part.value)
            if found and not _sets(node, part):
                return getattr(part, "lineno", node.lineno), found
    return None


def _sets(node: ast.stmt, part: ast.AST) -> bool:
    """Whether `os.environ` is only written to, or asked for a launcher's variable, in a statement."""
    if not (isinstance(part, ast.Attribute) and part.attr in ("environ", "getenv")):
        return False
    for other in ast.walk(node):
        if isinstance(other, ast.Subscript) and other.value is part:
            return not isinstance(other.ctx, ast.Load) or _is_rank(other.slice)
        if isinstance(other, ast.Call) and other.func is part:
            return bool(other.args) and _is_rank(other.args[0])
        if isinstance(other, ast.Call) and isinstance(other.func, ast.Attribute) and other.func.value is part:
            return other.func.attr in ("update", "setdefault", "copy") or bool(other.args) and _is_rank(other.args[0])
    return any(isinstance(other, ast.Dict) and part in other.values for other in ast.walk(node))


def _is_rank(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in _RANKS


def at(block: Sequence[ast.stmt], line: int, tree: ast.Module) -> int | None:
    """The index of the statement at a line; of several, the only one that may execute a text; None where unclear."""
    found = [number for number, node in enumerate(block) if covers(node, line)]
    if len(found) > 1:
        found = [number for number in found if executes_once(block[number], tree) and not unpacks(block[number], tree)]
    return found[0] if len(found) == 1 else None


def covers(node: ast.stmt, line: int) -> bool:
    """Whether a statement stands at a line."""
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _cleans(node: ast.stmt) -> bool:
    """`print(...)`, `os.remove(...)` and the like."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    name = ast.unparse(call.func)
    return name == "print" or name.endswith((".unlink", ".remove", ".rmtree", ".close", ".cleanup"))


def _without(text: str, statements: list[ast.ImportFrom]) -> str:
    """The text with some one-line statements blanked, so that line numbers stay."""
    lines = text.split("\n")
    for node in statements:
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            alone = lines[number - 1].strip()
            lines[number - 1] = "" if alone.startswith("from __future__") and ";" not in alone else lines[number - 1]
    return "\n".join(lines)
