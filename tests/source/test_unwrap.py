"""Wrappers are opened by reading: every kind in use, nested, bombs refused, nothing executed."""

from __future__ import annotations

import ast
import base64
import bz2
import gzip
import lzma
import marshal
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from harness.source.fstrings import lower
from harness.source.unwrap import parse, unwrap

PLAIN = "import os\nsteps = int(os.environ.get('STEPS', 3))\nprint('val_bpb', steps)\n"
_RAW = [{"id": lzma.FILTER_LZMA2}]


def _b85(data: bytes) -> bytes:
    return base64.b85encode(data)


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def _raw(code: bytes) -> bytes:
    return lzma.compress(code, lzma.FORMAT_RAW, filters=_RAW)


WRAPPERS: dict[str, Callable[[bytes], str]] = {
    "lzma b85": lambda code: (
        f"import lzma as L,base64 as B\nexec(L.decompress(B.b85decode({_b85(lzma.compress(code)).decode()!r})))"
    ),
    "raw lzma": lambda code: (
        f"import lzma as L,base64 as B\nexec(L.decompress(B.b85decode({_b85(_raw(code))!r}),"
        'format=L.FORMAT_RAW,filters=[{"id":L.FILTER_LZMA2}]))'
    ),
    "zlib b64": lambda code: (
        f"import zlib, base64\nexec(zlib.decompress(base64.b64decode({_b64(zlib.compress(code))!r})).decode())"
    ),
    "raw deflate": lambda code: (
        f"import zlib, base64\nexec(zlib.decompress(base64.b64decode({_b64(zlib.compress(code)[2:-4])!r}), -15))"
    ),
    "gzip a85": lambda code: (
        "from gzip import decompress as d\nfrom base64 import a85decode as a\n"
        f"code = {base64.a85encode(gzip.compress(code))!r}\nexec(compile(d(a(code)), '<code>', 'exec'), globals())"
    ),
    "bz2 hex": lambda code: f"import bz2\nexec(bz2.decompress(bytes.fromhex({bz2.compress(code).hex()!r})))",
    "brotli": lambda code: (
        f"import base64\nimport brotli\nexec(brotli.decompress(base64.b85decode({_b85(brotli.compress(code))!r})))"
    ),
    "zstandard": lambda code: (
        "import base64\nimport zstandard\n"
        f"exec(zstandard.decompress(base64.b85decode({_b85(zstandard.compress(code))!r})))"
    ),
    "imported on the spot": lambda code: (
        f"exec(__import__('zlib').decompress(__import__('base64').b64decode({_b64(zlib.compress(code)).decode()!r})))"
    ),
    "joined and reversed": lambda code: (
        f"import base64\nparts = [{_b64(code).decode()[::-1]!r}, '']\nexec(base64.b64decode(''.join(parts)[::-1]))"
    ),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_every_wrapper_opens(kind: str) -> None:
    done = unwrap(WRAPPERS[kind](PLAIN.encode()))
    assert done.source == PLAIN
    assert done.problem is None
    assert len(done.layers) == 1 and done.layers[0].plain == len(PLAIN)
    assert done.layers[0].how.startswith("exec(")


@given(st.lists(st.sampled_from(sorted(WRAPPERS)), min_size=1, max_size=4))
def test_nested_wrappers_open(kinds: list[str]) -> None:
    text = PLAIN
    for kind in kinds:
        text = WRAPPERS[kind](text.encode())
    done = unwrap(text)
    assert done.source == PLAIN and len(done.layers) == len(kinds)


def test_plain_code_stays() -> None:
    assert unwrap(PLAIN).source == PLAIN and not unwrap(PLAIN).layers


def test_a_long_script_that_also_calls_exec_is_not_a_wrapper() -> None:
    script = PLAIN + "\n".join(f"x{number} = {number}" for number in range(30)) + "\nexec(build_kernel())\n"
    done = unwrap(script)
    assert done.source == script and done.problem is None


def test_what_the_wrapper_does_besides_is_kept() -> None:
    inner = "from __future__ import annotations\nprint(os.environ['STEPS'])\n"
    text = (
        f"import os, base64\nos.environ['STEPS'] = '7'\nexec(base64.b64decode({base64.b64encode(inner.encode())!r}))\n"
    )
    source = unwrap(text).source
    tree = parse(source)
    assert tree is not None and ast.unparse(tree).startswith("from __future__ import annotations")
    assert source.index("'7'") < source.index("print")


def test_nothing_is_executed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = b"open('ran', 'w').write('x')"
    unwrap(
        f"exec(compile(open('ran','w').write('x') or 'pass', '', 'exec'))\nimport base64\n{WRAPPERS['lzma b85'](code)}"
    )
    unwrap("exec(getattr(__import__('os'), 'system')('touch ran'))")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "compress", [zlib.compress, lzma.compress, bz2.compress, brotli.compress, gzip.compress, zstandard.compress]
)
def test_a_bomb_stops_at_the_limit(compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(b"#" * 3_000_000)
    names = {zlib.compress: "zlib", lzma.compress: "lzma", bz2.compress: "bz2", gzip.compress: "gzip"}
    module = (names | {brotli.compress: "brotli", zstandard.compress: "zstandard"})[compress]
    text = f"import {module}, base64\nexec({module}.decompress(base64.b64decode({base64.b64encode(bomb)!r})))"
    done = unwrap(text, limit=1_000_000)
    assert done.problem is not None and "1,000,000" in done.problem and done.source == text


def test_marshal_is_refused() -> None:
    code = base64.b64encode(marshal.dumps(compile("x = 1", "", "exec")))
    done = unwrap(f"import marshal, base64\nexec(marshal.loads(base64.b64decode({code!r})))")
    assert done.problem is not None and "marshal" in done.problem


@pytest.mark.parametrize("module", ["lzma", "zlib", "bz2", "gzip", "brotli", "zstandard"])
def test_broken_payloads_say_so(module: str) -> None:
    done = unwrap(f"import {module}\nexec({module}.decompress(b'not packed at all'))")
    assert done.problem is not None and "line 2" in done.problem


def test_a_stub_names_and_opens_the_file_that_it_executes() -> None:
    text = 'exec(open(__file__.replace("train_gpt.py", "train_gpt_decode.py")).read())'
    closed = unwrap(text)
    assert closed.runs_file == "train_gpt_decode.py" and closed.problem is not None
    opened = unwrap(text, sibling={"train_gpt_decode.py": PLAIN.encode()}.get)
    assert opened.source == PLAIN and opened.runs_file == "train_gpt_decode.py" and opened.problem is None
    packed = "import lzma\nexec(lzma.decompress(open('code.xz', 'rb').read()))"
    assert unwrap(packed, sibling={"code.xz": lzma.compress(PLAIN.encode())}.get).source == PLAIN


@pytest.mark.parametrize(
    "text", ["import runpy\nrunpy.run_path('real.py', run_name='__main__')", "from real import main\nmain()"]
)
def test_a_stub_that_imports_names_the_file(text: str) -> None:
    assert unwrap(text, sibling={"real.py": b"x = 1"}.get).runs_file == "real.py"


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_any_input_is_fine(text: str | bytes) -> None:
    assert isinstance(unwrap(text).source, str)


NEWER = [
    ("h = {'a': 1}\nout = f'{h['a']}'", "1"),
    ('out = f"{", ".join(["a", "b"])}"', "a, b"),
    ("out = f\"{'\\n'.join(['a', 'b'])}!\"", "a\nb!"),
    ("out = f'{f'{1 + 1}'}'", "2"),
    ("x = 3.14159\nout = f'{x:.{1 + 1}f} {{}} {x!r:>8}'", "3.14 {}  3.14159"),
    ("out = f'{\n1 + 1\n}'", "2"),
]


@pytest.mark.parametrize(("text", "expected"), NEWER)
def test_newer_f_strings_are_rewritten(text: str, expected: str) -> None:
    source = text if parse(text) else lower(text)
    scope: dict[str, object] = {}
    exec(compile(source, "t", "exec"), scope)  # noqa: S102  the test's own text
    assert scope["out"] == expected


@given(st.text(alphabet="fr'\"{}\\n #a:\n", max_size=40))
def test_rewriting_keeps_what_already_reads(text: str) -> None:
    tree = parse(text)
    if tree is not None:
        after = parse(lower(text))
        assert after is not None and ast.dump(after) == ast.dump(tree)
