"""Downloading the contest's FineWeb shards from the Hugging Face hub.

The files are those that the contest's data/cached_challenge_fineweb.py takes: the manifest, the tokenizer, all
validation shards and the first so many training shards. Every file is checked against what the hub publishes about it
(for large files their sha256) and then never asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import HarnessError, UsageError

REPOSITORY = "willdepueoai/parameter-golf"
ENDPOINT = "https://huggingface.co"

#: Folder of the repository that has the contest's layout.
PREFIX = "datasets"

_SPEC = re.compile(r"fineweb:(sp\d[\w-]*)(?:@(\d+))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKED = "checked.json"


def parse(spec: str) -> tuple[str, int]:
    """Variant and number of training shards of "fineweb:VARIANT[@SHARDS]"; one shard (100 million tokens) by default.

    Raises:
        UsageError: the text is something else.
    """
    found = _SPEC.fullmatch(spec)
    if not found or (found[2] is not None and int(found[2]) < 1):
        raise UsageError(f"data {spec!r} is not understood; write fineweb:sp1024 or fineweb:sp1024@80 for 80 shards")
    return found[1], int(found[2] or 1)


def fetch(spec: str, cache: Path, *, notify: Callable[[str], None], endpoint: str | None = None) -> tuple[Path, int]:
    """Download what is missing of a variant.

    Interrupted downloads resume. When everything is there and checked, the network is not used.

    Args:
        spec: "fineweb:VARIANT[@SHARDS]".
        cache: folder for downloads; variants share it.
        notify: receives a line for every file.
        endpoint: the hub's address; by default HF_ENDPOINT or the public hub.

    Returns:
        (the DIR/datasets/fineweb10B_<variant> folder, number of training shards asked for).

    Raises:
        UsageError: unknown variant, too many shards, or the `data` extra is not installed.
        HarnessError: the hub cannot be reached, or a file is not what the hub says it is.
    """
    variant, shards = parse(spec)
    mirror = _Mirror(cache, endpoint or os.environ.get("HF_ENDPOINT") or ENDPOINT, notify)
    manifest = _manifest(mirror.get("manifest.json"))
    name = f"fineweb10B_{variant}"
    entries = {str(entry["name"]): entry for entry in manifest["datasets"]}
    if name not in entries:
        known = ", ".join(sorted(key.removeprefix("fineweb10B_") for key in entries))
        raise UsageError(f"{REPOSITORY} has no variant {variant!r}; it has: {known}")
    entry = entries[name]
    available, validation = int(entry["stats"]["files_train"]), int(entry["stats"]["files_val"])
    if shards > available:
        raise UsageError(f"{variant} has {available} training shards, {shards} were asked for")
    models = [t["model_path"] for t in manifest["tokenizers"] if t["name"] == entry["tokenizer_name"]]
    if len(models) != 1:
        raise HarnessError(f"the manifest of {REPOSITORY} names {len(models)} tokenizers for {variant}, not one")
    files = [str(models[0])]
    files += [f"datasets/{name}/fineweb_val_{index:06d}.bin" for index in range(validation)]
    files += [f"datasets/{name}/fineweb_train_{index:06d}.bin" for index in range(shards)]
    for number, file in enumerate(files, start=1):
        mirror.get(file, progress=f"{number}/{len(files)}")
    return cache / PREFIX / "datasets" / name, shards


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        for entry in manifest["datasets"]:
            _ = (entry["name"], int(entry["stats"]["files_train"]), int(entry["stats"]["files_val"]))
            _ = entry["tokenizer_name"]
        for entry in manifest["tokenizers"]:
            _ = (entry["name"], entry.setdefault("model_path", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise HarnessError(f"{path} is not a dataset manifest of the contest; remove it and try again") from None
    checked: dict[str, Any] = manifest
    return checked


class _Mirror:
    """A folder with checked copies of some of the repository's files, all of one revision."""

    def __init__(self, folder: Path, endpoint: str, notify: Callable[[str], None]) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.notify = notify
        self.ledger = folder / _CHECKED
        try:
            state = json.loads(self.ledger.read_bytes())
            self.revision: str | None = state["revision"]
            self.sizes: dict[str, int] = dict(state["sizes"])
        except (OSError, ValueError, KeyError, TypeError):
            self.revision, self.sizes = None, {}

    def get(self, name: str, *, progress: str = "") -> Path:
        """The checked local copy of a file below PREFIX."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not name:
            raise HarnessError(f"the manifest of {REPOSITORY} names the file {name!r}, which leaves its folder")
        path = self.folder / PREFIX / pure
        if path.is_file() and self.sizes.get(name) == path.stat().st_size:
            return path
        self._download(name, progress)
        self.sizes[name] = path.stat().st_size
        scratch = self.ledger.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"revision": self.revision, "sizes": self.sizes}, indent=1), encoding="utf-8")
        os.replace(scratch, self.ledger)
        return path

    def _download(self, name: str, progress: str) -> None:
        try:
            import huggingface_hub
            from huggingface_hub.utils.tqdm import disable_progress_bars
        except ImportError:
            raise UsageError("fineweb data needs the hub client: pip install 'golf-harness[data]'") from None
        disable_progress_bars()  # progress goes through notify
        remote = f"{PREFIX}/{name}"
        # No token: the repository is public, and an endpoint that is not the hub must not be given one.
        try:
            if self.revision is None:
                api = huggingface_hub.HfApi(endpoint=self.endpoint, token=False)
                self.revision = str(api.dataset_info(REPOSITORY).sha)
            url = huggingface_hub.hf_hub_url(
                REPOSITORY, remote, repo_type="dataset", revision=self.revision, endpoint=self.endpoint
            )
            about = huggingface_hub.get_hf_file_metadata(url, token=False, endpoint=self.endpoint)
            path = self.folder / remote
            if path.is_file() and path.stat().st_size != about.size:
                path.unlink()  # the client goes by its own notes about finished files, not by their size
            self.notify(f"downloading {name} {progress} ({(about.size or 0) / 1e6:,.1f} MB)")
            huggingface_hub.hf_hub_download(
                REPOSITORY,
                remote,
                repo_type="dataset",
                revision=self.revision,
                local_dir=self.folder,
                endpoint=self.endpoint,
                token=False,
            )
        except Exception as error:  # the client passes on its transport's errors, which change with its version
            reason = f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
            raise HarnessError(f"cannot download {remote} from {self.endpoint}: {reason}") from None
        self._check(path, str(about.etag or ""), about.size)

    def _check(self, path: Path, etag: str, size: int | None) -> None:
        """Compare with what the hub says: the size, and for large files the sha256, which is their ETag."""
        found: object = path.stat().st_size
        expected: object = size
        if found == expected or size is None:
            if not _SHA256.fullmatch(etag):
                return
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            expected = etag
        if found != expected:
            path.unlink()
            raise HarnessError(f"{path.name} arrived damaged ({found} found, {expected} expected) and was removed")
