"""Bytes and texts that a module spells out and decodes: computed from its syntax tree, never by running it.

Known are literals, names bound to them once, `+`, slices, `join`, `replace`, `strip`, `encode`, `decode`, the decoders
of base64, binascii and codecs, and the decompressors of lzma, zlib, gzip, bz2, brotli and zstandard. Every
decompression stops at a limit.
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable
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


class Literals:
    """Evaluates expressions of one module.

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
        self._bound: dict[str, ast.expr | None] = {}
        self._busy: set[str] = set()
        self.steps: list[str] = []
        self.opened: list[str] = []
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                targets = [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign)):
                    self._bound[target.id] = None if target.id in self._bound else node.value

    def value(self, node: ast.expr) -> Any:
        """What `node` stands for: bytes, text, int, or a list or dict of these (for filters).

        Raises:
            Unknown: it cannot be said without running code, or it breaks the limit.
        """
        self.steps, self.opened = [], []
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
        bound = self._bound.get(node.id)
        if bound is None or node.id in self._busy:
            raise Unknown(f"{node.id} (line {node.lineno}) is not one literal of the file")
        self._busy.add(node.id)
        try:
            return self._value(bound)
        finally:
            self._busy.discard(node.id)

    def _constant(self, node: ast.Attribute) -> Any:
        if isinstance(node.value, ast.Name) and self._modules.get(node.value.id) == "lzma":
            value = getattr(lzma, node.attr, None)
            if isinstance(value, int):
                return int(value)
        raise Unknown(f"line {node.lineno} computes it (.{node.attr})")

    def called(self, node: ast.Call) -> tuple[str, str]:
        """(module, function) that a call names, through the file's own import aliases; ("", "") when unclear."""
        name = node.func
        if isinstance(name, ast.Name):
            return self._functions.get(name.id, ("", name.id))
        if isinstance(name, ast.Attribute):
            if isinstance(name.value, ast.Name):
                return self._modules.get(name.value.id, ""), name.attr
            if isinstance(name.value, ast.Call) and self.called(name.value) == ("", "__import__") and name.value.args:
                return str(self._value(name.value.args[0])), name.attr
            return "", name.attr
        return "", ""

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
