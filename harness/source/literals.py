"""Bytes and texts that a module spells out and decodes: computed from its syntax tree, never by running it.

Known are literals, names as straight-line code binds them one after another, `+`, `|` of integers, slices, `join`,
`replace`, `strip`, `encode`, `decode`, the decoders of base64, binascii and codecs, and the decompressors of lzma,
zlib, gzip, bz2, brotli and zstandard. Every decompression stops at a limit. A name that a loop, a branch, a function or
an import may have bound to something else is unknown, and so is a module that the text changes.
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import brotli
import zstandard

#: Reads a file next to the script: relative name as written -> its bytes, or None.
Sibling = Callable[[str], bytes | None]
_LZMA_MEMORY = 256 << 20
_BASES = {
    "b85decode", "b64decode", "a85decode", "b32decode", "b16decode", "urlsafe_b64decode", "standard_b64decode",
    "decodebytes",
}  # fmt: skip
_NICE = {
    "b85decode": "base85", "a85decode": "ascii85", "b64decode": "base64", "urlsafe_b64decode": "base64",
    "standard_b64decode": "base64", "decodebytes": "base64", "a2b_base64": "base64", "b32decode": "base32",
    "b16decode": "base16", "fromhex": "hex", "unhexlify": "hex", "a2b_hex": "hex",
}  # fmt: skip
_REFUSED = {"marshal": "compiled code (marshal) is not opened", "pickle": "pickled code is not opened"}


class Unknown(Exception):
    """The expression needs something that is not spelled out; the message says what."""


#: What a text may be bound to: an expression, or None where that takes running it.
_Binding = tuple[int, ast.expr | None]
_CHANGES = {"setattr", "delattr", "__setattr__", "__dict__", "vars"}


def straight(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements in the order in which they run: bodies of `with`, `try` and `if __name__ == "__main__"` in line.

    Other compound statements are handed out whole.
    """
    for node in body:
        if isinstance(node, (ast.With, ast.Try)) or (isinstance(node, ast.If) and certain(node)):
            yield node
            yield from straight(node.body)
        else:
            yield node


def certain(node: ast.If) -> bool:
    """Whether the body of an `if` runs in any case, where the file is what is run."""
    test = node.test
    if isinstance(test, ast.Constant):
        return bool(test.value)
    return not node.orelse and ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")


class Literals:
    """Evaluates expressions of one module, as they stand behind all of its statements or at one of them.

    Args:
        tree: the module.
        limit: most bytes that any value may have.
        sibling: how files that the module opens are read; without it they are unknown.

    Attributes:
        steps: names of the decoders that the last `value` went through, outermost first.
        opened: names of the files that `value` read or wanted to read.
    """

    def __init__(self, tree: ast.Module, limit: int, sibling: Sibling | None = None) -> None:
        self._limit, self._sibling = limit, sibling
        self._modules, self._functions = aliases(tree)
        self._bound: dict[str, list[_Binding]] = {}
        self._order = {node: index for index, node in enumerate(straight(tree.body))}
        self._at = len(self._order)
        self.steps: list[str] = []
        self.opened: list[str] = []
        for node, index in self._order.items():
            for name, value in _bindings(node):
                self._bound.setdefault(name, []).append((index, value))
        self._loose = {name for node in ast.walk(tree) if isinstance(node, (ast.Global, ast.Nonlocal))
                       for name in node.names}  # fmt: skip
        for node in self._order:
            if isinstance(node, (ast.With, ast.Try)):  # either may end in the middle, and nobody hears of it
                inside = {part.id for part in scope(node) if isinstance(part, ast.Name) and _stored(part)}
                self._loose |= {name for name in inside if len(self._bound.get(name, ())) > 1}
        stored = [node.value.id for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                  and not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name)]  # fmt: skip
        self._changed = {name for name in stored if name in self._modules}
        if any(_spelled(node) in _CHANGES for node in ast.walk(tree)):
            self._changed |= set(self._modules)

    def value(self, node: ast.expr, statement: ast.stmt | None = None) -> Any:
        """What `node` stands for: bytes, text, int, or a list or dict of these (for filters).

        Args:
            node: an expression of the module.
            statement: the one (of `straight`) in which it stands; None for the end of the module.

        Raises:
            Unknown: it cannot be said without running code, or it breaks the limit.
        """
        self.steps, self.opened = [], []
        self._at = len(self._order) if statement is None else self._order[statement]
        try:
            return self._value(node)
        except (ValueError, TypeError, LookupError, OverflowError, MemoryError, EOFError) as error:
            raise Unknown(f"it does not decode: {_short(error)}") from None
        except (lzma.LZMAError, zlib.error, brotli.error, zstandard.ZstdError, OSError) as error:
            raise Unknown(f"it does not decompress: {_short(error)}") from None
        except RecursionError:
            raise Unknown("it is nested too deep") from None

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._value(node.left), self._value(node.right)
            if isinstance(left, bytes) and isinstance(right, bytes):
                return self._fits(left + right)
            if isinstance(left, str) and isinstance(right, str):
                return self._fits(left + right)
            if isinstance(left, list) and isinstance(right, list):
                return left + right
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            left, right = self._value(node.left), self._value(node.right)
            if isinstance(left, int) and isinstance(right, int):
                return left | right
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self._value(item) for item in node.elts]
        if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
            keys = [self._value(key) for key in node.keys if key is not None]
            return dict(zip(keys, map(self._value, node.values), strict=True))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._value(node.operand)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            parts = [None if part is None else self._value(part)
                     for part in (node.slice.lower, node.slice.upper, node.slice.step)]  # fmt: skip
            return self._value(node.value)[slice(*parts)]
        if isinstance(node, ast.Attribute):
            return self._constant(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise Unknown(f"line {node.lineno} computes it ({type(node).__name__})")

    def _name(self, node: ast.Name) -> Any:
        if node.id == "__file__":
            return "__file__"
        index, bound = self._binding(node.id)
        if bound is None or node.id in self._modules or node.id in self._functions:
            raise Unknown(f"{node.id} (line {node.lineno}) is not spelled out in the file")
        at, self._at = self._at, index
        try:
            return self._value(bound)
        finally:
            self._at = at

    def module(self, node: ast.Call) -> str:
        """The module whose function a call names, whatever may have become of it; "" where it is none."""
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        return self._modules.get(base.id, "") if isinstance(base, ast.Name) else ""

    def imported(self, name: str) -> str:
        """What a name that was imported from a module is called there; "" where it was not."""
        return self._functions.get(name, ("", ""))[1]

    def bound(self, name: str) -> ast.expr | None:
        """What a name was bound to last before the statement of the last `value`; None where that is not plain."""
        return self._binding(name)[1]

    def _binding(self, name: str) -> _Binding:
        """What a name was bound to last, and at which statement."""
        if name in self._loose:
            return -1, None
        return max((one for one in self._bound.get(name, ()) if one[0] < self._at), key=lambda one: one[0],
                   default=(-1, None))  # fmt: skip

    def _constant(self, node: ast.Attribute) -> Any:
        if isinstance(node.value, ast.Name) and self._module(node.value.id) == "lzma":
            value = getattr(lzma, node.attr, None)
            if isinstance(value, int):
                return int(value)
        raise Unknown(f"line {node.lineno} computes it (.{node.attr})")

    def called(self, node: ast.Call) -> tuple[str, str]:
        """(module, function) that a call names, through the file's own import aliases; ("", "") when unclear.

        Raises:
            Unknown: a module is meant of which the text, or the folder, may have made something else.
        """
        name = node.func
        if isinstance(name, ast.Name):
            if name.id in self._bound or name.id in self._loose:
                return "", ""
            module, own = self._functions.get(name.id, ("", name.id))
            return self._trusted(module), own
        if isinstance(name, ast.Attribute):
            if isinstance(name.value, ast.Name):
                return self._module(name.value.id), name.attr
            if isinstance(name.value, ast.Call) and self.called(name.value) == ("", "__import__") and name.value.args:
                return self._trusted(str(self._value(name.value.args[0]))), name.attr
            return "", name.attr
        return "", ""

    def _module(self, alias: str) -> str:
        """The module behind a name; "" where it is none."""
        module = self._modules.get(alias, "")
        if module and (alias in self._bound or alias in self._loose or alias in self._changed):
            raise Unknown(f"{alias} is not only the module {module} in this file")
        return self._trusted(module)

    def _trusted(self, module: str) -> str:
        if module and self._sibling is not None and self._sibling(module.partition(".")[0] + ".py") is not None:
            raise Unknown(f"{module} is a file of the folder")
        return module

    def _call(self, node: ast.Call) -> Any:
        module, name = self.called(node)
        if module in _REFUSED:
            raise Unknown(_REFUSED[module])
        options = {option.arg: self._value(option.value) for option in node.keywords if option.arg}
        if module in ("lzma", "zlib", "gzip", "bz2", "brotli", "zstandard", "zstd") and name == "decompress":
            self.steps.append(module)
            arguments = [self._value(item) for item in node.args]
            return decompress(module, arguments, options, self._limit)
        if module in ("base64", "binascii") and (name in _BASES or name in _NICE):
            self.steps.append(_NICE.get(name, name))
            decode = getattr(base64 if module == "base64" else binascii, name)
            return self._fits(decode(self._value(node.args[0]), **options))
        if module == "codecs" and name == "decode":
            data, codec = self._value(node.args[0]), str(self._value(node.args[1]))
            if codec not in ("rot13", "rot_13", "hex", "base64", "utf-8", "utf8", "ascii", "latin-1"):
                raise Unknown(f"codec {codec} is not opened")
            self.steps.append(codec)
            return self._fits(codecs.decode(data, codec))
        if name in ("compile", "bytes", "str", "memoryview", "bytearray") and not module and node.args:
            value = self._value(node.args[0])
            if name in ("bytes", "bytearray") and isinstance(value, list):
                return bytes(value)
            return value.decode() if name == "str" and isinstance(value, bytes) else value
        if name in ("open", "read_text", "read_bytes", "read") and not (name == "read" and not _method(node)):
            return self._file(node, name)
        return self._method(node, name, options)

    def _method(self, node: ast.Call, name: str, options: dict[str, Any]) -> Any:
        if not isinstance(node.func, ast.Attribute):
            raise Unknown(f"line {node.lineno} calls {name or 'something'}()")
        if name == "fromhex":
            self.steps.append("hex")
            return bytes.fromhex(self._value(node.args[0]))
        if name == "decompress" and isinstance(node.func.value, ast.Call):
            inner = self.called(node.func.value)
            if inner in (("zstandard", "ZstdDecompressor"), ("lzma", "LZMADecompressor"), ("zlib", "decompressobj")):
                self.steps.append(inner[0])
                made = {key.arg: self._value(key.value) for key in node.func.value.keywords if key.arg}
                first = [self._value(item) for item in node.args[:1]]
                return decompress(inner[0], first + [self._value(item) for item in node.func.value.args], made,
                                  self._limit)  # fmt: skip
        if name not in ("decode", "encode", "replace", "strip", "lstrip", "rstrip", "join", "split", "translate"):
            raise Unknown(f"line {node.lineno} calls .{name}()")
        owner, arguments = self._value(node.func.value), [self._value(item) for item in node.args]
        if not isinstance(owner, (bytes, str)):
            raise Unknown(f"line {node.lineno} calls .{name}() on something computed")
        if name == "replace" and len(arguments[1]) > len(arguments[0]):
            bound = len(owner) * (1 + len(arguments[1]))
            self._fits(b"", bound)
        return self._fits(getattr(owner, name)(*arguments, **options))

    def _file(self, node: ast.Call, name: str) -> Any:
        """`open(F).read()`, `Path(F).read_text()`: the content of a file next to the script."""
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "read" and isinstance(owner, ast.Name) and (handle := self._binding(owner.id)[1]) is not None:
            owner = handle
            node = handle if isinstance(handle, ast.Call) and self.called(handle) == ("", "open") else node
        if any(isinstance(part, (ast.IfExp, ast.BoolOp, ast.Subscript, ast.Dict)) for part in ast.walk(node)):
            raise Unknown(f"line {node.lineno} reads a file whose name is computed")
        spelled = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        names = [part for part in spelled if isinstance(part, str) and "." in part.strip("./")]
        if not names:
            raise Unknown(f"line {node.lineno} reads a file whose name is computed")
        self.opened.append(names[-1])
        content = self._sibling(names[-1]) if self._sibling else None
        if content is None:
            raise Unknown(f"the code is in {names[-1]}, which is not there")
        self._fits(content)
        binary = name == "read_bytes" or any(part in ("rb", "br") for part in spelled)
        return content if binary else content.decode()

    def _fits(self, value: Any, size: int | None = None) -> Any:
        if (len(value) if size is None else size) > self._limit:
            raise Unknown(f"it is larger than {self._limit:,} bytes")
        return value


def _bindings(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a statement of `straight` binds, with what they are bound to where that is plain."""
    plain: dict[str, ast.expr] = {}
    if isinstance(node, ast.Assign):
        for target in node.targets:
            plain |= _paired(target, node.value)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        plain |= _paired(node.target, node.value)
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        before = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        plain[node.target.id] = ast.copy_location(ast.BinOp(before, node.op, node.value), node)
    elif isinstance(node, ast.With):
        for item in node.items:
            plain |= _paired(item.optional_vars, item.context_expr) if item.optional_vars else {}
    inline = isinstance(node, (ast.With, ast.Try)) or (isinstance(node, ast.If) and certain(node))
    stored: set[str] = set()
    for part in scope(node, inline):
        if isinstance(part, ast.Name) and _stored(part):
            stored.add(part.id)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            stored.add(part.name)
        elif isinstance(part, ast.ExceptHandler) and part.name:
            stored.add(part.name)
    walrus = {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
    for name in stored:
        yield name, None if name in walrus else plain.get(name)


def scope(node: ast.AST, inline: bool = False) -> Iterator[ast.AST]:
    """The parts of a statement that bind names of the module: not the insides of functions and classes.

    Args:
        node: a statement.
        inline: leave out its body, which `straight` hands out by itself.
    """
    left = set(map(id, getattr(node, "body", []))) if inline else set()
    stack: list[ast.AST] = [node]
    while stack:
        part = stack.pop()
        yield part
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack += [child for child in ast.iter_child_nodes(part) if id(child) not in left]


def _stored(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Load)


def _paired(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    if isinstance(target, ast.Name):
        return {target.id: value}
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        if len(target.elts) == len(value.elts) and not any(isinstance(part, ast.Starred) for part in value.elts):
            pairs = zip(target.elts, value.elts, strict=True)
            return {one.id: part for one, part in pairs if isinstance(one, ast.Name)}
    return {}


def _spelled(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def aliases(tree: ast.AST) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """What a module's imports call things: {alias: module} and {alias: (module, function)}."""
    modules: dict[str, str] = {}
    functions: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                modules[name.asname or name.name.split(".")[0]] = name.name if name.asname else name.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                functions[name.asname or name.name] = (node.module, name.name)
    return modules, functions


def decompress(kind: str, arguments: list[Any], options: dict[str, Any], limit: int) -> bytes:
    """`arguments[0]` unpacked, at most `limit` bytes of it.

    Raises:
        Unknown: it would be larger, or there is no decompressor for it here.
    """
    data = arguments[0]
    if kind == "lzma":
        form = options.get("format", arguments[1] if len(arguments) > 1 else lzma.FORMAT_AUTO)
        memory = {} if form == lzma.FORMAT_RAW else {"memlimit": _LZMA_MEMORY}
        out = lzma.LZMADecompressor(form, filters=options.get("filters"), **memory).decompress(data, limit + 1)
    elif kind in ("zlib", "gzip"):
        bits = options.get("wbits", arguments[1] if len(arguments) > 1 and kind == "zlib" else 15)
        out = zlib.decompressobj(31 if kind == "gzip" else bits).decompress(data, limit + 1)
    elif kind == "bz2":
        out = bz2.BZ2Decompressor().decompress(data, limit + 1)
    elif kind == "brotli":
        reader, out = brotli.Decompressor(), b""
        while not reader.is_finished() and len(out) <= limit:
            piece = reader.process(b"" if out else data, output_buffer_limit=limit + 1)
            out += piece
            if not piece:
                break
    else:
        out = zstandard.ZstdDecompressor().stream_reader(data).read(limit + 1)
    if len(out) > limit:
        raise Unknown(f"it unpacks to more than {limit:,} bytes")
    return bytes(out)


def _method(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute)


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
