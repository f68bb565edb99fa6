"""Which settings a script has: every read of the environment in its source, with default and type.

Only the syntax tree is used. Known spellings: `os.environ.get`, `os.getenv`, `os.environ[...]`, aliases of
these, helper functions whose first parameter is the name, config classes whose field names are upper-cased, argparse.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_CASTS = {"int": "int", "float": "float", "bool": "bool", "str": "text"}
#: Words of yes.
TRUE = ("1", "true", "True", "yes", "on")
_FALSE = ("0", "false", "False", "no", "off", "")
#: Names that say where a run lies, and how it is launched: no part of what was submitted.
_PLACES = re.compile(
    r"(^|_)(PATH|PATHS|DIR|DIRS|ROOT|FILE|FILES|RUN_ID|RUN_NAME|GLOB|PATTERN|URL|TOKEN|REPO|REPO_ID)$|^WANDB"
    r"|^(HOME|USER|LD_LIBRARY_PATH|TMPDIR|TEMP|TMP|HF_\w+|VIRTUAL_ENV)$"
)
_LAUNCH = re.compile(
    r"^(RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_\w+|HOSTNAME|CUDA_\w+|NCCL_\w+|TORCH_\w+|PYTORCH_\w+"
    r"|TORCHINDUCTOR_\w+|TRITON_\w+|OMP_\w+|SLURM_\w+|PYTHON[A-Z]+)$"
)
_NAME = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*+$")


@dataclass(frozen=True)
class Read:
    """One setting that the source reads.

    Attributes:
        name: environment variable, or the flag ("--slot-lr") of a command line option.
        default: the default as the text that would set it; None where it is no literal.
        cast: "int", "float", "bool" or "text".
        line: where, in the plain source.
        attribute: class attribute or variable that it is stored in; None where it is used at once.
        follows: the attribute that the default is copied from, if it is.
        yes: the text that turns a bool on; likewise `no`.
        listed: whether the text is cut at commas.
        file: side file that reads it; None for the entry.
        flag: whether it is a command line option.
    """

    name: str
    default: str | None
    cast: str
    line: int
    attribute: str | None = None
    follows: str | None = None
    yes: str = "1"
    no: str = "0"
    listed: bool = False
    file: str | None = None
    flag: bool = False


@dataclass(frozen=True)
class Reads:
    """All settings of a script.

    Attributes:
        reads: in the order of the source, one for each name (the first that has a default).
        constants: {attribute: (value as text, line)} of config classes and the module, for what cannot be set.
        printed: {label in a log line: (attribute, whether rounded)} from the script's own f-strings.
    """

    reads: tuple[Read, ...]
    constants: dict[str, tuple[str, int]]
    printed: dict[str, tuple[str, bool]]

    def by_name(self) -> dict[str, Read]:
        """{name: read}."""
        return {read.name: read for read in self.reads}

    def by_attribute(self) -> dict[str, Read]:
        """{attribute: read}; the first read that is stored there."""
        found: dict[str, Read] = {}
        for read in self.reads:
            if read.attribute:
                found.setdefault(read.attribute, read)
        return found


def find_reads(trees: Iterable[tuple[str | None, ast.Module]]) -> Reads:
    """The settings of a script.

    Args:
        trees: (file, tree) of the entry (file None) and of the side files that it imports.
    """
    found: dict[str, Read] = {}
    constants: dict[str, tuple[str, int]] = {}
    printed: dict[str, tuple[str, bool]] = {}
    for file, tree in trees:
        finder = _Finder(tree, file)
        for read in finder.reads():
            have = found.get(read.name)
            if have is None or (have.default is None and read.default is not None):
                found[read.name] = replace(read, attribute=read.attribute or (have.attribute if have else None))
        if file is None:
            constants = finder.constants()
            printed = _printed_labels(tree)
    by_attribute = {read.attribute: read for read in found.values() if read.attribute}
    for name, read in list(found.items()):
        seen: set[str] = set()
        source = read
        while source.default is None and source.follows in by_attribute and source.follows not in seen:
            seen.add(str(source.follows))
            source = by_attribute[str(source.follows)]
        if read.default is None and read.follows in constants:
            found[name] = replace(read, default=constants[str(read.follows)][0])
        elif read.default is None and source.default is not None:
            found[name] = replace(read, default=source.default)
    return Reads(tuple(found.values()), constants, printed)


class _Finder:
    def __init__(self, tree: ast.Module, file: str | None) -> None:
        self._tree, self._file = tree, file
        self._parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._getters, self._environs = {"getenv"}, {"environ"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                if self._is_getter(node.value):
                    self._getters.add(node.targets[0].id)
                elif self._is_environ(node.value):
                    self._environs.add(node.targets[0].id)
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                for name in node.names:
                    if name.name in ("environ", "getenv"):
                        (self._environs if name.name == "environ" else self._getters).add(name.asname or name.name)
        self._helpers = dict(self._find_helpers())

    def _is_environ(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr == "environ"
        return isinstance(node, ast.Name) and node.id in self._environs

    def _is_getter(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            if node.attr == "getenv":
                return True
            return node.attr in ("get", "setdefault", "pop") and self._is_environ(node.value)
        return isinstance(node, ast.Name) and node.id in self._getters

    def _find_helpers(self) -> Iterable[tuple[str, tuple[str | None, int | None, str | None]]]:
        """{function: (cast, index of its default parameter, default default)} whose first parameter is a name."""
        for node in ast.walk(self._tree):
            name, arguments = "", None
            if isinstance(node, ast.FunctionDef):
                name, arguments = node.name, node.args
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
                if isinstance(node.targets[0], ast.Name):
                    name, arguments = node.targets[0].id, node.value.args
            if arguments is None or not arguments.args or not name:
                continue
            parameters = [argument.arg for argument in arguments.args]
            if parameters[0] in ("self", "cls"):
                parameters = parameters[1:]
            for part in ast.walk(node):
                key = self._key(part)
                if isinstance(key, ast.Name) and parameters and key.id == parameters[0]:
                    lowered = name.lower()
                    cast = next((cast for word, cast in _CASTS.items() if word in lowered), None)
                    if cast is None and isinstance(part, ast.Call):
                        around = self._cast(part)[0]
                        cast = around if around != "text" else None
                    yield name, (cast, 1 if len(parameters) > 1 else None, None)
                    break

    def _key(self, node: ast.AST) -> ast.expr | None:
        """The expression that names the variable, if `node` reads the environment."""
        if isinstance(node, ast.Call) and self._is_getter(node.func) and node.args:
            return node.args[0]
        if isinstance(node, ast.Subscript) and self._is_environ(node.value) and isinstance(node.ctx, ast.Load):
            return node.slice
        return None

    def reads(self) -> Iterable[Read]:
        """Every read, in the order of the source."""
        nodes = [node for node in ast.walk(self._tree) if isinstance(node, (ast.Call, ast.Subscript))]
        for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
            key = self._key(node)
            if key is not None:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    default = node.args[1] if isinstance(node, ast.Call) and len(node.args) > 1 else None
                    yield self._read(node, key.value, default, None)
                elif any(isinstance(part, ast.Attribute) and part.attr == "upper" for part in ast.walk(key)):
                    yield from self._fields()
            elif isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in self._helpers and node.args:
                    first = node.args[0]
                    if isinstance(first, ast.Constant) and isinstance(first.value, str) and _NAME.match(first.value):
                        yield self._helped(node, first.value, self._helpers[name])
                elif name == "add_argument":
                    yield from _flag(node, self._file)

    def _helped(self, node: ast.Call, name: str, helper: tuple[str | None, int | None, str | None]) -> Read:
        cast, index, _ = helper
        default: ast.expr | None = None
        if index is not None and len(node.args) > index:
            default = node.args[index]
        for option in node.keywords:
            if option.arg in ("default", "d", "fallback"):
                default = option.value
        for part in [*node.args[1:], *(option.value for option in node.keywords)]:
            if isinstance(part, ast.Name) and part.id in _CASTS:
                cast = _CASTS[part.id]
        if cast is None and isinstance(default, ast.Constant):
            cast = _CASTS.get(type(default.value).__name__)
        return self._read(node, name, default, cast)

    def _read(self, node: ast.Call | ast.Subscript, name: str, default: ast.expr | None, cast: str | None) -> Read:
        around, yes, no, listed = self._cast(node)
        follows = default.id if isinstance(default, ast.Name) else None
        if isinstance(default, ast.Call) and default.args and isinstance(default.args[0], ast.Name):
            follows = default.args[0].id
        return Read(name, _text_of(default), cast or around, node.lineno, self._attribute(node), follows,
                    yes, no, listed, self._file)  # fmt: skip

    def _cast(self, node: ast.AST) -> tuple[str, str, str, bool]:
        """(cast, text for yes, text for no, cut at commas) from what is done with the text around the read."""
        cast, yes, no, listed = "text", "1", "0", False
        while (parent := self._parents.get(node)) is not None and not isinstance(parent, ast.stmt):
            if isinstance(parent, ast.Attribute) and parent.attr == "split":
                listed = True
            elif isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and node in parent.args:
                if parent.func.id in _CASTS and not listed:
                    cast = _CASTS[parent.func.id] if cast == "text" or parent.func.id == "bool" else cast
            elif isinstance(parent, ast.Compare) and parent.left is node:
                texts = [part.value for part in ast.walk(parent.comparators[0]) if isinstance(part, ast.Constant)]
                words = [text for text in texts if isinstance(text, str)]
                if words and all(word in TRUE + _FALSE for word in words):
                    cast = "bool"
                    if all(word in TRUE for word in words):
                        yes = "1" if "1" in words else words[0]
                    else:
                        no = "0" if "0" in words else words[0]
                elif texts and not words and cast == "int":
                    cast = "bool" if texts[0] in (0, 1) else cast
            node = parent
        return cast, yes, no, listed

    def _attribute(self, node: ast.AST) -> str | None:
        child: ast.AST = node
        while (parent := self._parents.get(child)) is not None:
            if isinstance(parent, (ast.Assign, ast.AnnAssign)):
                target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
                if isinstance(target, ast.Tuple) and isinstance(parent.value, ast.Tuple) and child is parent.value:
                    return None
                if isinstance(target, ast.Name):
                    return target.id
                return target.attr if isinstance(target, ast.Attribute) else None
            if isinstance(parent, ast.keyword) and parent.arg:
                inner = parent.arg in ("default", "key", "default_factory")
                return self._attribute(parent) if inner else parent.arg
            if isinstance(parent, ast.stmt):
                return None
            child = parent
        return None

    def _fields(self) -> Iterable[Read]:
        """Fields of config classes, whose upper-cased names are read in a loop."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.ClassDef) and not node.bases:
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
                        kind = item.annotation.id if isinstance(item.annotation, ast.Name) else "str"
                        yield Read(item.target.id.upper(), _text_of(item.value), _CASTS.get(kind, "text"),
                                   item.lineno, item.target.id, file=self._file)  # fmt: skip

    def constants(self) -> dict[str, tuple[str, int]]:
        """Literal assignments at module level and in classes."""
        found: dict[str, tuple[str, int]] = {}
        bodies = [self._tree.body, *(node.body for node in self._tree.body if isinstance(node, ast.ClassDef))]
        for body in bodies:
            for item in body:
                target: ast.expr | None = item.target if isinstance(item, ast.AnnAssign) else None
                if isinstance(item, ast.Assign) and len(item.targets) == 1:
                    target = item.targets[0]
                value = item.value if isinstance(item, (ast.Assign, ast.AnnAssign)) else None
                text = _text_of(value)
                if isinstance(target, ast.Name) and text is not None:
                    found.setdefault(target.id, (text, item.lineno))
        return found


def _flag(node: ast.Call, file: str | None) -> Iterable[Read]:
    names = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    long = next((name for name in names if name.startswith("--")), None)
    if long is None:
        return
    options = {option.arg: option.value for option in node.keywords}
    kind, action = options.get("type"), options.get("action")
    cast = _CASTS.get(kind.id, "text") if isinstance(kind, ast.Name) else "text"
    if isinstance(action, ast.Constant) and str(action.value).startswith("store_"):
        cast = "bool"
    default = _text_of(options.get("default"))
    destination = options.get("dest")
    attribute = str(destination.value) if isinstance(destination, ast.Constant) else long[2:].replace("-", "_")
    yield Read(long, default, cast, node.lineno, attribute, file=file, flag=True)


def _printed_labels(tree: ast.Module) -> dict[str, tuple[str, bool]]:
    """{label: (attribute, rounded)} of f-strings such as f"train_seq_len:{args.train_seq_len}"."""
    found: dict[str, tuple[str, bool]] = {}
    clashing: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, part in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(before, ast.Constant) and isinstance(part, ast.FormattedValue)):
                continue
            label = re.search(r"(?:^|[\s(])([a-z]\w*)[:=]\s?$", str(before.value))
            if label and isinstance(part.value, ast.Attribute):
                entry = (part.value.attr, part.format_spec is not None)
                if found.setdefault(label[1], entry)[0] != entry[0]:
                    clashing.add(label[1])
            elif label:
                clashing.add(label[1])
    return {label: entry for label, entry in found.items() if label not in clashing}


def _text_of(node: ast.expr | None) -> str | None:
    """A literal (or arithmetic on literals) as the text that sets it; None for anything else."""
    if node is None:
        return None
    value: object = literal(node)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(value)
    return None if value is None else str(value)


def literal(node: ast.expr) -> object:
    """The value of a literal, or of arithmetic on literals; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand)
        return -value if isinstance(value, (int, float)) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "int", "float"):
        return literal(node.args[0]) if len(node.args) == 1 else None
    if isinstance(node, ast.BinOp):
        left, right = literal(node.left), literal(node.right)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)) and abs(left) + abs(right) < 1e12:
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Add):
                return left + right
            if isinstance(node.op, ast.Sub):
                return left - right
            if isinstance(node.op, (ast.Div, ast.FloorDiv)) and right:
                return left / right if isinstance(node.op, ast.Div) else left // right
            if isinstance(node.op, ast.Pow) and 0 <= right <= 40 and abs(left) <= 10:
                return left**right
            if isinstance(node.op, ast.LShift) and isinstance(left, int) and isinstance(right, int) and right <= 40:
                return left << right if right >= 0 else None
    return None


def is_launch(name: str) -> bool:
    """Whether a variable is the launcher's: ranks, NCCL, compilers."""
    return _LAUNCH.match(name) is not None


def is_place(name: str) -> bool:
    """Whether a variable says where a run lies or how it is launched, rather than what is run."""
    return _PLACES.search(name) is not None or is_launch(name)


def same(one: str | None, other: str | None) -> bool:
    """Whether two texts set the same value: as numbers where both are."""
    if one is None or other is None or one == other:
        return one == other
    try:
        return float(one) == float(other)
    except ValueError:
        words = {"true": "1", "false": "0"}
        return words.get(one.lower(), one).strip("/") == words.get(other.lower(), other).strip("/")
