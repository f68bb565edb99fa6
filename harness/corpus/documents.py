"""Raw documents: the documentation of the running Python's standard library, or a JSON-lines file.

Every Python brings about two megabytes of English full of code, to every box as well, so that no score on it shows
much (see `harness.corpus.at_hand`); the default data are those of `harness.corpus.commons`. Modules are parsed, never
imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
import sysconfig
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.corpus.overlap import RUN, unshared
from harness.errors import HarnessError, UsageError

#: A document is closed at the next class once it has this many characters, and at the latest before SPLIT_CHARS.
CLOSE_CHARS = 600
SPLIT_CHARS = 3000

#: Folders of the standard library that hold tests or demonstrations rather than documentation.
SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})

_Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def plain(text: str) -> str:
    """The text in the form that the contest's tokenizers keep: NFKC, no control characters, single spaces.

    SentencePiece's nmt_nfkc rule folds every run of white space into one space and drops invisible characters, so
    line breaks and indentation never reach the tokens. Documents in this form are reproduced byte for byte.
    """
    spaced = " ".join(unicodedata.normalize("NFKC", text).split())
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs", "Cn") and c != "\ufffd")


def _entries(node: ast.Module | _Documented, name: str) -> Iterator[tuple[str, str, bool]]:
    """Pairs of heading and documentation in source order; the flag marks what belongs to no class."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _Documented):
            continue
        qualified = f"{name}.{child.name}"
        is_class = isinstance(child, ast.ClassDef)
        text = ast.get_docstring(child)
        if text:
            arguments = "" if isinstance(child, ast.ClassDef) else f"({ast.unparse(child.args)})"
            yield f"{'class ' if is_class else ''}{qualified}{arguments}", text, is_class
        yield from _entries(child, qualified)


def module_documents(source: bytes, name: str) -> list[str]:
    """The documentation of one module as documents of some hundred to a few thousand characters.

    Args:
        source: the module's source code.
        name: the module's dotted name.

    Returns:
        Texts such as "class bisect.X: ... bisect.X.find(self, x): ...", in `plain` form; empty if nothing is
        documented or the source does not parse.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old modules
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    text = ast.get_docstring(tree)
    parts = [(name, text, False)] if text else []
    parts += _entries(tree, name)
    documents: list[str] = []
    current = ""
    for heading, body, is_class in parts:
        piece = plain(f"{heading}: {body}")
        full = len(current) + len(piece) > SPLIT_CHARS or (is_class and len(current) >= CLOSE_CHARS)
        if current and full:
            documents.append(current)
            current = ""
        current = f"{current} {piece}" if current else piece
    return [*documents, current] if current else documents


def stdlib_sources() -> list[tuple[str, Path]]:
    """Dotted name and file of every documented module of the standard library, sorted by name."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for top in sorted(sys.stdlib_module_names - {"test", "pydoc_data"}):
        single, package = root / f"{top}.py", root / top
        files = [single] if single.is_file() else sorted(package.rglob("*.py")) if package.is_dir() else []
        for file in files:
            parts = file.relative_to(root).with_suffix("").parts
            if not SKIPPED_FOLDERS.intersection(parts):
                found.append((".".join(parts).removesuffix(".__init__"), file))
    return sorted(found)


def topics_source() -> Path | None:
    """The file with the language reference that `help()` shows, or None where the distribution left it out."""
    spec = importlib.util.find_spec("pydoc_data")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "topics.py"
        if path.is_file():
            return path
    return None


def _topic_documents(path: Path | None) -> list[str]:
    if path is None:
        return []
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(node.value)
            return [plain(topics[name]) for name in sorted(topics)]
    return []


def stdlib_documents() -> list[str]:
    """The stdlib data: docstrings of the standard library, packed by module, and the `help()` topics.

    Near duplicates are still in it (see `harness.corpus.overlap`); the order is fixed.

    Raises:
        HarnessError: this Python has no readable standard library sources.
    """
    documents = [
        text for name, path in stdlib_sources() for text in module_documents(path.read_bytes(), name)
    ] + _topic_documents(topics_source())
    if not documents:
        raise HarnessError("this Python has no standard library sources to read; give --data a .jsonl file instead")
    return documents


def jsonl_documents(path: Path, *, limit: int | None = None) -> list[str]:
    """The documents of a JSON-lines file, one object with a "text" each; blank lines are ignored.

    Args:
        path: the file, UTF-8.
        limit: stop after this many documents.

    Raises:
        UsageError: the file cannot be read, or a line is not such an object; names file and line.
    """
    documents: list[str] = []
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if limit is not None and len(documents) >= limit:
                    break
                if not line.strip():
                    continue
                record = json.loads(line)
                text = record.get("text") if isinstance(record, dict) else None
                if not isinstance(text, str) or not text.strip():
                    raise UsageError(f'{path}:{number}: expected an object with a non-empty "text" string')
                text.encode("utf-8")  # a lone surrogate has no bytes to count
                documents.append(text)
    except OSError as error:
        raise UsageError(f"cannot read the documents in {path}: {error.strerror}") from None
    except UnicodeError:
        raise UsageError(f"{path}:{number}: the text is not valid UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}:{number}: not JSON ({error})") from None
    if not documents:
        raise UsageError(f"{path} holds no documents")
    return documents


def split(documents: Sequence[str], *, validation_bytes: int | None = None) -> tuple[list[str], list[str]]:
    """Part the documents into training and validation.

    Validation takes documents in the order of their sha256 until it has `validation_bytes`, from those that share no
    run of 13 words with any other document, so no such run is in both parts. A document longer than a tenth of
    the validation part stays in training, where it cannot dominate the score.

    Args:
        documents: texts without near duplicates.
        validation_bytes: size to reach in UTF-8 bytes; by default a thirtieth of all bytes, but not less than
            90,000 unless that is more than a fifth.

    Returns:
        (train, validation), each in the order of sha256: well mixed, so that a loader that reads through sees every
        kind of text all the time.

    Raises:
        UsageError: one of the parts would be empty.
    """
    sizes = [len(text.encode("utf-8")) for text in documents]
    goal = validation_bytes or max(sum(sizes) // 30, min(90_000, sum(sizes) // 5))
    alone = unshared(documents)
    order = sorted(range(len(documents)), key=lambda i: (hashlib.sha256(documents[i].encode("utf-8")).digest(), i))
    cap = max(goal // 10, 1_000)
    chosen: set[int] = set()
    total = 0
    for index in order:
        if total >= goal or len(chosen) == len(documents) - 1:
            break
        if alone[index] and sizes[index] <= cap:
            chosen.add(index)
            total += sizes[index]
    if not chosen:
        raise UsageError(
            f"{len(documents)} documents cannot be split: validation needs documents of at most {cap:,} bytes"
            f" that share no {RUN} consecutive words with another"
        )
    return [documents[i] for i in order if i not in chosen], [documents[i] for i in order if i in chosen]
