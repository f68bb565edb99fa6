"""The downloader against a stand-in for the hub on 127.0.0.1: the two endpoints that the client uses, with ranges."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from harness.corpus import hub
from harness.corpus.dataset import prepare
from harness.corpus.shards import read_shard
from harness.corpus.tokenizer import Tokenizer
from harness.errors import HarnessError, UsageError

COMMIT = "1234567890abcdef1234567890abcdef12345678"
NAME = "fineweb10B_sp512"


class Hub(ThreadingHTTPServer):
    """Serves `files` by repository path; `lies` replaces contents but not ETags, `cuts` end a first answer early."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files
        self.lies: dict[str, bytes] = {}
        self.cuts: dict[str, int] = {}
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def got(self, method: str) -> list[str]:
        return [path.removeprefix("datasets/") for m, path, _ in self.requests if m == method and path]


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, *, send: bool) -> None:
        api = re.fullmatch(rf"/api/datasets/{hub.REPOSITORY}(/revision/\w+)?(\?.*)?", self.path)
        file = re.fullmatch(rf"/datasets/{hub.REPOSITORY}/resolve/{COMMIT}/(.+)", self.path)
        name = file[1] if file else ""
        self.server.requests.append((self.command, name, self.headers["Range"]))
        assert "Authorization" not in self.headers
        if api:
            body = json.dumps({"id": hub.REPOSITORY, "sha": COMMIT, "siblings": []}).encode()
            return self.reply(200, {"Content-Type": "application/json"}, body, send)
        if name not in self.server.files:
            return self.reply(404, {"X-Error-Code": "EntryNotFound"}, b"", send)
        body = self.server.files[name]
        sha256 = hashlib.sha256(body).hexdigest()
        etag = sha256 if name.endswith((".bin", ".model")) else sha256[:40]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        body = self.server.lies.get(name, body)
        status = 200
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or ""):
            start = int(found[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        return self.reply(status, headers, body, send, cut=self.server.cuts.pop(name, None) if send else None)

    def reply(self, status: int, headers: dict[str, str], body: bytes, send: bool, cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send:
            self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server(contest_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {
        f"datasets/{path.relative_to(contest_folder).as_posix()}": path.read_bytes()
        for path in contest_folder.rglob("*.*")
        if path.is_file()
    }
    manifest = {
        "datasets": [{"name": NAME, "tokenizer_name": "sp_bpe_512", "stats": {"files_train": 2, "files_val": 2}}],
        "tokenizers": [{"name": "sp_bpe_512", "model_path": "tokenizers/fineweb_512_bpe.model"}],
    }
    files["datasets/manifest.json"] = json.dumps(manifest).encode()
    running = Hub(files)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_download_then_prepare_then_no_network(
    server: Hub, tmp_path: Path, documents: list[str], tokenizer: Tokenizer
) -> None:
    lines: list[str] = []
    found = prepare("fineweb:sp512@2", cache=tmp_path / "cache", notify=lines.append)
    assert (found.name, found.documents) == (NAME, 20)
    assert np.array_equal(found.validation, tokenizer.stream(documents[:20]))
    assert found.train_tokens == tokenizer.stream(documents[20:]).size
    assert sum("downloading" in line for line in lines) == 6
    assert any(line.startswith(f"downloading datasets/{NAME}/fineweb_train_000001.bin 5/5 (0.0 MB)") for line in lines)
    server.requests.clear()
    again = prepare("fineweb:sp512@2", cache=tmp_path / "cache")
    assert again.sha256 == found.sha256
    assert server.requests == []


def test_only_the_shards_asked_for(server: Hub, tmp_path: Path) -> None:
    one = prepare("fineweb:sp512@1", cache=tmp_path / "cache")
    assert [path.name for path in one.train_dir.iterdir()] == ["fineweb_train_000000.bin"]
    assert f"datasets/{NAME}/fineweb_train_000001.bin" not in server.got("GET")
    server.requests.clear()
    two = prepare("fineweb:sp512@2", cache=tmp_path / "cache")
    assert server.got("GET") == [f"datasets/{NAME}/fineweb_train_000001.bin"], "the rest is here already"
    assert len(two.train_shards) == 2 and two.sha256 != one.sha256
    after = prepare("fineweb:sp512", cache=tmp_path / "cache")
    assert after.sha256 == one.sha256, "shards downloaded for others are not used"


def test_an_interrupted_download_resumes(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # it resumes at whole chunks
    name = f"datasets/datasets/{NAME}/fineweb_train_000000.bin"
    size = len(server.files[name])
    server.cuts[name] = size // 2
    folder, shards = hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)
    assert shards == 1
    assert (folder / "fineweb_train_000000.bin").read_bytes() == server.files[name]
    ranges = [asked for method, path, asked in server.requests if method == "GET" and path == name]
    assert ranges == [None, f"bytes={size // 2 // 1000 * 1000}-"]


def test_a_file_that_is_not_what_the_hub_says_is_refused(server: Hub, tmp_path: Path) -> None:
    name = f"datasets/datasets/{NAME}/fineweb_val_000001.bin"
    server.lies[name] = server.files[name][:-2] + b"\x05\x00"
    with pytest.raises(HarnessError, match=r"fineweb_val_000001\.bin arrived damaged"):
        hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)
    assert not (tmp_path / name).exists()
    server.lies.clear()
    folder, _ = hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)
    assert (folder / "fineweb_val_000001.bin").read_bytes() == server.files[name]


def test_a_file_cut_short_on_disk_is_fetched_again(server: Hub, tmp_path: Path) -> None:
    folder, _ = hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)
    path = folder / "fineweb_train_000000.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)
    assert path.read_bytes() == whole
    assert read_shard(path).size > 0


def test_variants_and_shards_that_do_not_exist(server: Hub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no variant 'sp99'; it has: sp512"):
        hub.fetch("fineweb:sp99", tmp_path, notify=lambda _: None)
    with pytest.raises(UsageError, match="sp512 has 2 training shards, 3 were asked for"):
        hub.fetch("fineweb:sp512@3", tmp_path, notify=lambda _: None)


def test_a_file_that_the_hub_lacks(server: Hub, tmp_path: Path) -> None:
    del server.files[f"datasets/datasets/{NAME}/fineweb_train_000000.bin"]
    with pytest.raises(HarnessError, match=r"cannot download .*train_000000\.bin") as caught:
        hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "manifest",
    [b"{", b"[]", b'{"datasets": [{"name": "x"}], "tokenizers": []}', b'{"datasets": [], "tokenizers": [3]}'],
)
def test_a_broken_manifest(server: Hub, tmp_path: Path, manifest: bytes) -> None:
    server.files["datasets/manifest.json"] = manifest
    with pytest.raises(HarnessError, match="is not a dataset manifest"):
        hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)


def test_a_manifest_cannot_write_outside_its_folder(server: Hub, tmp_path: Path) -> None:
    manifest = server.files["datasets/manifest.json"].replace(b"tokenizers/fineweb", b"../../fineweb")
    server.files["datasets/manifest.json"] = manifest
    with pytest.raises(HarnessError, match="leaves its folder"):
        hub.fetch("fineweb:sp512", tmp_path / "deep" / "cache", notify=lambda _: None)


def test_no_hub_to_reach(tmp_path: Path, server: Hub) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(HarnessError, match=f"cannot download datasets/manifest.json from {server.url}"):
        hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)


def test_without_the_extra(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'golf-harness\[data\]'"):
        hub.fetch("fineweb:sp512", tmp_path, notify=lambda _: None)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("fineweb:sp1024", ("sp1024", 1)), ("fineweb:sp8192@80", ("sp8192", 80)), ("fineweb:sp8192_caps@2", None)],
)
def test_specs(spec: str, expected: tuple[str, int] | None) -> None:
    assert hub.parse(spec) == (expected or ("sp8192_caps", 2))


@pytest.mark.parametrize("spec", ["fineweb:", "fineweb:sp1024@", "fineweb:sp1024@0", "fineweb:../x", "fineweb:byte260"])
def test_specs_that_make_no_sense(spec: str) -> None:
    with pytest.raises(UsageError, match="is not understood; write fineweb:sp1024"):
        hub.parse(spec)
