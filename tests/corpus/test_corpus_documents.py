from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_helpers import make_documents
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpus.documents import jsonl_documents, module_documents, plain, split, stdlib_documents
from harness.corpus.overlap import remove_near_duplicates, unshared, word_runs
from harness.errors import UsageError
from tests.support import shared_share

MODULE = b'''"""A module   about things."""
class Thing:
    """A thing.

        With an indented line."""
    def turn(self, angle: int = 90) -> None:
        """Turn it by `angle` degrees."""
    def bare(self): pass
async def later(*args, key=None):
    """Come back."""
'''


def test_module_documents_name_what_they_document() -> None:
    assert module_documents(MODULE, "pkg.mod") == [
        "pkg.mod: A module about things. class pkg.mod.Thing: A thing. With an indented line. "
        "pkg.mod.Thing.turn(self, angle: int=90): Turn it by `angle` degrees. "
        "pkg.mod.later(*args, key=None): Come back."
    ]


def test_classes_and_long_modules_start_new_documents() -> None:
    text = "word " * 200
    source = "".join(f'class C{i}:\n    """{text}"""\n' for i in range(3)) + f'def f():\n    """{text * 3}"""\n'
    found = module_documents(source.encode(), "m")
    assert [document.split(":")[0] for document in found] == ["class m.C0", "class m.C1", "class m.C2", "m.f()"]


def test_source_that_does_not_parse_or_is_not_documented_gives_nothing() -> None:
    assert module_documents(b"def f(:\n", "m") == []
    assert module_documents(b"x = 1\n", "m") == []
    assert module_documents(b"\x00", "m") == []


def test_plain_keeps_what_the_tokenizer_keeps() -> None:
    assert plain("  a\n\n\tb\u00a0 \ufb01 \x07c\u200bd  ") == "a b fi cd"


@pytest.mark.slow
def test_stdlib_documents_are_many_and_plain() -> None:
    found = stdlib_documents()
    assert sum(len(text.encode("utf-8")) for text in found) > 1_500_000
    assert all(text == plain(text) and text for text in found)
    assert any("class collections.OrderedDict" in text and "def " not in text[:4] for text in found)
    assert any("for_stmt" in text or '"for" statement' in text for text in found), "the help() topics are missing"


def test_jsonl_documents(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "one\\n  two"}\n\n{"text": "drei \u00fc", "id": 3}\n', encoding="utf-8")
    assert jsonl_documents(path) == ["one\n  two", "drei \u00fc"]
    assert jsonl_documents(path, limit=1) == ["one\n  two"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"text": "a"}\n{"text": \n', ":2: not JSON"),
        (b'{"text": "a"}\n{"txt": "b"}\n', ':2: expected an object with a non-empty "text"'),
        (b'["a"]\n', ":1: expected an object"),
        (b'{"text": "  "}\n', ":1: expected an object with a non-empty"),
        (b'{"text": 5}\n', ":1: expected an object"),
        (b'{"text": "\xff"}\n', ":1: the text is not valid UTF-8"),
        (b'{"text": "\\ud800"}\n', ":1: the text is not valid UTF-8"),
        (b"[" * 100_000, ":1: not JSON"),
        (b"", "holds no documents"),
    ],
)
def test_bad_jsonl_names_the_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        jsonl_documents(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_jsonl(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        jsonl_documents(tmp_path / "none.jsonl")


def test_word_runs() -> None:
    words = [f"w{i}" for i in range(15)]
    assert word_runs("W0, (w1)\n" + " ".join(words[2:])) == {" ".join(words[i : i + 13]) for i in range(3)}
    assert word_runs("Just three words") == {"just three words"}
    assert word_runs(" ?! ") == {"?!"}


def test_near_duplicates_go_and_excerpts_with_them() -> None:
    first, second = make_documents(2, words=100)
    copy = first.upper() + " and a little more"
    excerpt = " ".join(first.split()[:50])
    assert remove_near_duplicates([first, second, copy, excerpt]) == [second, copy]
    assert remove_near_duplicates([first, second]) == [first, second]
    assert shared_share(excerpt, word_runs(first)) == 1
    assert shared_share(second, word_runs(first)) == 0


def test_a_small_common_passage_is_tolerated_but_not_scored() -> None:
    first, second, third = make_documents(3, words=100)
    common = " ".join(make_documents(1, words=20, seed=9))
    both = [f"{first} {common}", f"{second} {common}", third]
    assert remove_near_duplicates(both) == both
    assert unshared(both) == [False, False, True]
    train, validation = split(both, validation_bytes=5000)
    assert validation == [third] and sorted(train) == sorted(both[:2])


WORDS = st.lists(st.sampled_from([f"w{i}" for i in range(6)]), min_size=1, max_size=40).map(" ".join)


@settings(deadline=None, derandomize=True)
@given(documents=st.lists(WORDS, max_size=12), shuffle=st.randoms())
def test_laws_of_near_duplicate_removal(documents: list[str], shuffle: object) -> None:
    kept = remove_near_duplicates(documents)
    assert remove_near_duplicates(kept) == kept
    other = list(documents)
    shuffle.shuffle(other)  # type: ignore[attr-defined]
    assert sorted(remove_near_duplicates(other)) == sorted(kept)


@settings(deadline=None, derandomize=True)
@given(documents=st.lists(WORDS, min_size=2, max_size=12, unique=True), goal=st.integers(1, 400))
def test_laws_of_the_split(documents: list[str], goal: int) -> None:
    try:
        train, validation = split(documents, validation_bytes=goal)
    except UsageError:
        assert not any(unshared(documents))
        return
    assert train and validation
    assert sorted(train + validation) == sorted(documents)
    runs = {run for text in train for run in word_runs(text)}
    assert all(shared_share(text, runs) == 0 for text in validation)
    again = split(sorted(documents), validation_bytes=goal)
    assert sorted(again[1]) == sorted(validation), "the split depends on the texts, not on their order"


def test_long_documents_stay_in_training() -> None:
    short = make_documents(100, words=40)
    long = make_documents(5, words=2000, seed=1)
    train, validation = split(short + long, validation_bytes=10_000)
    assert not set(long) & set(validation)
    assert 10_000 <= sum(len(text.encode()) for text in validation) < 11_000
    assert set(long) <= set(train)


def test_default_size_of_the_validation_part() -> None:
    documents = make_documents(100, words=40)
    _, validation = split(documents)
    share = sum(len(text.encode()) for text in validation) / sum(len(text.encode()) for text in documents)
    assert 0.2 <= share < 0.25


@pytest.mark.parametrize("documents", [[], ["only one"], ["same words here", "Same words, here!"]])
def test_a_split_that_cannot_be_is_refused(documents: list[str]) -> None:
    with pytest.raises(UsageError, match=f"{len(documents)} documents cannot be split"):
        split(documents)


def test_json_lines_of_any_text_come_back(tmp_path: Path) -> None:
    texts = ["a\u2028b", "\x85 \u0000 x", '"quoted" \\ back']
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts), encoding="utf-8")
    assert jsonl_documents(path) == texts
