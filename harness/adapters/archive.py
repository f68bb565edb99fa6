"""The file of a proof: a header with what a decoder may know, and the code of the segment's tokens."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.corpus.shards import Tokens
from harness.errors import UsageError
from harness.referee.coder import CODER

MAGIC = b"GOLFPRF1"
_LENGTH = struct.Struct("<I")
_DIGEST = 32

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Token = Annotated[int, Field(ge=0, lt=1 << 16)]


class Header(BaseModel):
    """What an archive says besides its code.

    x_0 (`first`) to x_begin are given; the segment is the `tokens` after them.

    `filler` stands for tokens that are not decoded yet; the digests of tokens (little-endian uint16, x_0 included) and
    text are for comparison after decoding. `made_with` names what rows depend on to the last bit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["golf-harness.proof/1"] = "golf-harness.proof/1"
    submission: str = Field(max_length=200)
    submission_sha256: _Sha256
    artifact_sha256: _Sha256
    data_sha256: _Sha256
    tokenizer_sha256: _Sha256
    scale: Literal["smoke", "record"]
    seed: int = Field(ge=0, lt=1 << 32)
    stream_tokens: int = Field(ge=2, le=1 << 28)
    vocab_size: int = Field(ge=1, le=1 << 16)
    tokens: int = Field(ge=1)
    begin: int = Field(default=0, ge=0)
    first: _Token
    filler: _Token
    coder: str = CODER
    nll_nats: float = Field(ge=0, allow_inf_nan=False)
    tokens_sha256: _Sha256
    text_sha256: _Sha256
    text_bytes: int = Field(ge=0)
    made_with: dict[str, str]


@dataclass(frozen=True)
class Archive:
    """A header, the code of the segment's tokens, and the tokens before it (uint16 [header.begin + 1])."""

    header: Header
    code: bytes
    given: Tokens

    def to_bytes(self) -> bytes:
        """The container: magic, length and JSON of the header, what is given but x_0, the code, a sha256 over all."""
        head = self.header.model_dump_json().encode()
        body = MAGIC + _LENGTH.pack(len(head)) + head + self.given[1:].astype("<u2").tobytes() + self.code
        return body + hashlib.sha256(body).digest()

    @classmethod
    def load(cls, path: Path) -> Archive:
        """Read an archive from a file.

        Raises:
            UsageError: the file is missing, no archive, damaged, or of another version.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the archive {path}: {error.strerror}") from None
        start = len(MAGIC) + _LENGTH.size
        if not content.startswith(MAGIC) or len(content) < start + _DIGEST:
            raise UsageError(f"{path} is not a proof archive; `harness prove SUBMISSION` makes one")
        body, digest = content[:-_DIGEST], content[-_DIGEST:]
        if hashlib.sha256(body).digest() != digest:
            raise UsageError(f"the archive {path} is damaged (its checksum does not fit); copy or make it again")
        stop = start + _LENGTH.unpack_from(body, len(MAGIC))[0]
        try:
            header = Header.model_validate_json(body[start:stop])
        except ValidationError as error:
            first = error.errors()[0]
            where = ascii(".".join(str(part) for part in first["loc"]))[1:-1] or "the header"
            raise UsageError(f"{path} is no archive that this version reads: {where}: {first['msg']}") from None
        if header.coder != CODER:
            raise UsageError(f"{path} was coded by {header.coder[:100]!a}; this version decodes {CODER!r}")
        given = np.frombuffer(body[stop : stop + 2 * header.begin], "<u2")
        known = np.concatenate([[header.first], given]).astype(np.uint16)
        fits = header.begin + header.tokens < header.stream_tokens and len(given) == header.begin
        if not fits or max(int(known.max()), header.filler) >= header.vocab_size:
            raise UsageError(f"{path} is no archive: its numbers of tokens do not fit each other")
        return cls(header, body[stop + 2 * header.begin :], known)
