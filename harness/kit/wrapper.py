"""Code as a self-extracting script: what the contest's submissions ship to save bytes of code.

    import lzma as L,base64 as B
    exec(L.decompress(B.b85decode("..."),format=L.FORMAT_RAW,filters=[{"id":L.FILTER_LZMA2}]))

The script runs exactly what it was made from, in the namespace that it is run in, so a `submission.py` may be one; its
size is then what `size-limit` counts. Raw LZMA2 saves the container's 60 bytes. `harness.source.unwrap` reads both
forms without running them.
"""

from __future__ import annotations

import ast
import base64
import lzma
from typing import Literal

Form = Literal["raw", "xz"]

_RAW = '(B.b85decode("{data}"),format=L.FORMAT_RAW,filters=[{{"id":L.FILTER_LZMA2}}])'
_XZ = '(B.b85decode("{data}"))'
#: The dictionary of a bare {"id": FILTER_LZMA2} has 8 MiB, which a larger preset would exceed.
_DICTIONARY = 1 << 23


def wrap(source: str, *, form: Form = "raw", minify: bool = False) -> str:
    """A script that unpacks and executes `source`.

    Args:
        source: Python code.
        form: "raw" LZMA2 or an "xz" container.
        minify: drop comments and docstrings first (`minified`).

    Raises:
        ValueError: `source` is not Python.
    """
    try:
        compile(source, "source", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"wrapper: what is to be wrapped is not Python: {error}") from None
    code = (minified(source) if minify else source).encode()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": _DICTIONARY}]
    if form == "raw":
        packed = lzma.compress(code, format=lzma.FORMAT_RAW, filters=filters)
    else:
        packed = lzma.compress(code, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)
    call = (_RAW if form == "raw" else _XZ).format(data=base64.b85encode(packed).decode())
    return f"import lzma as L,base64 as B\nexec(L.decompress{call})\n"


def minified(source: str) -> str:
    """The same program without comments, docstrings and spare spaces; `__doc__` becomes None, line numbers change."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and _documented(node):
            node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None
