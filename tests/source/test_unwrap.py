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


def _packed(code: str) -> str:
    return f"lzma.decompress(base64.b85decode({_b85(lzma.compress(code.encode()))!r}))"


FOLLOWED = {
    "one name twice": "S = {p}\nS = S.decode()\nF = __file__ + '.x'\nexec(compile(S, F, 'exec'))",
    "grown": "S = {p}\nS += b'#'\nS = S[:-1]\nexec(S)",
    "two at once": "A, S = b'', {p}\nA, S = S, A\nexec(A)",
    "under main": "S = 'x'\nif __name__ == '__main__':\n    S = {p}\n    exec(S, {{'__name__': '__main__'}})",
    "on one line": "S = {p}; S = S.decode(); exec(S)",
    "as an evaluated module": "eval(compile({p}, 'x', 'exec'))",
}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_names_are_followed_in_order(kind: str) -> None:
    done = unwrap("import lzma, base64\n" + FOLLOWED[kind].format(p=_packed(PLAIN)))
    assert done.source == PLAIN and done.problem is None and not done.layers[0].ran


NOT_FOLLOWED = {
    "a branch may have set it": "S = {p}\nif len(S) > 3:\n    S = {q}\nexec(S)",
    "a loop may have set it": "S = {p}\nfor S in [{q}]:\n    pass\nexec(S)",
    "a handler may have set it": "try:\n    S = {p}\n    S.nothing\nexcept Exception:\n    S = {q}\nexec(S)",
    "a try may not have got there": "S = {q}\ntry:\n    1 / 0\n    S = {p}\nexcept Exception:\n    pass\nexec(S)",
    "a function may have set it": "def f():\n    global S\n    S = {q}\nS = {p}\nf()\nexec(S)",
    "a walrus set it": "S = {p}\n(S := {q})\nexec(S)",
    "the decoder was changed": "base64.b85decode = lambda text: {q}\nexec({p})",
    "the decoder was set": "setattr(base64, 'b85decode', lambda text: {q})\nexec({p})",
    "the decoder is another": "class lzma:\n    decompress = staticmethod(lambda text: {q})\nexec({p})",
    "another branch executes, too": "if input():\n    exec({p})\nelse:\n    exec({q})",
    "a handler executes, too": "try:\n    exec({p})\nexcept Exception:\n    exec({q})",
    "two are executed": "if True:\n    exec({p}); exec({q})",
    "it is executed in other names": "exec({p}, make_names())",
    "a file that one of two names": "exec(open('a.py' if input() else 'b.py').read())",
}


@pytest.mark.parametrize("kind", NOT_FOLLOWED)
def test_what_may_be_something_else_is_not_followed(kind: str) -> None:
    text = "import lzma, base64\n" + NOT_FOLLOWED[kind].format(p=_packed(PLAIN), q=_packed(PLAIN + "#"))
    done = unwrap(text, sibling={"a.py": b"x = 1", "b.py": b"x = 2"}.get)
    assert done.source == text and done.problem is not None and not done.layers


def test_a_decoder_of_the_folder_is_not_pythons() -> None:
    done = unwrap("import lzma, base64\nexec(" + _packed(PLAIN) + ")", sibling={"lzma.py": b"x = 1"}.get)
    assert not done.layers and done.problem is not None and "a file of the folder" in done.problem


def test_names_that_the_code_inside_can_see_stay() -> None:
    inside = "import torch\nprint('val_bpb', LEAK, globals().get('MORE'))\n"
    names = "LEAK = 1\nMORE = 2\nUNUSED = 3"
    text = f"import lzma, base64, helper\n{names}\nexec({_packed(inside)}, {{**globals(), 'GIVEN': 4}})"
    source = unwrap(text).source
    assert all(line in source for line in ("LEAK = 1", "MORE = 2", "GIVEN = 4", "helper", inside))
    assert "UNUSED" not in source and "b85decode" not in source


@pytest.mark.parametrize(
    "line",
    [
        "open('inner.py', 'w').write(T)\nimport sys\nsys.path.insert(0, '.')\nimport inner",
        "exec(build_kernel())",
        "e = exec\ne(T)",
        "getattr(__builtins__, NAME)(T)",
        "import builtins\nvars(builtins)[N](T)",
        "__import__('builtins').__dict__[N](T)",
        "eval('exec(T)')",
        "list(map(exec, T))",
        "def f():\n    exec(build_kernel())",
        "import runpy\nrunpy.run_path(made())",
    ],
)
def test_a_long_script_that_makes_code_says_so(line: str) -> None:
    script = "import torch\n" + "\n".join(f"x{number} = {number}" for number in range(30)) + f"\n{line}\n"
    done = unwrap(script, sibling={}.get)
    assert done.source == script and done.problem is None and done.unseen == done.made and done.made is not None
    clean = script.replace(line, "torch.x = 3\nmodel.eval()\ntorch.eval(f)\ntorch.compile(f)\neval('3')")
    assert unwrap(clean).unseen is None


def test_a_text_that_only_hands_over_to_what_is_not_there_is_not_the_code() -> None:
    text = "import runpy, os, tempfile\np = os.path.join(tempfile.mkdtemp(), 'x.py')\n"
    text += "open(p, 'w').write(T)\nrunpy.run_path(p)"
    assert unwrap(text, sibling={}.get).unseen is not None


def test_a_long_launcher_of_a_file_beside_it_hides_nothing() -> None:
    lines = "\n".join(f"x{number} = {number}" for number in range(30))
    text = f"import runpy, pathlib\n{lines}\nf = pathlib.Path(__file__).parent / 'real.py'\nrunpy.run_path(str(f))\n"
    assert unwrap(text, sibling={"real.py": b"x = 1"}.get).made is None
    assert unwrap(text, sibling={}.get).unseen is not None
