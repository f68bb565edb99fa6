"""Proof by decompression: a segment is coded with the rows of a normal evaluation, and decoded in a fresh box.

The box that decodes is given the artifact, the submission's files and the lengths in the archive's header; it learns a
token when that token has been decoded. What comes back is therefore what the submission can predict, and the length
of the code is its score.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness import __version__
from harness.adapters.archive import Archive, Header
from harness.adapters.options import Options, played
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import Sealed
from harness.audit.evidence import ProofResult
from harness.corpus.dataset import Dataset
from harness.corpus.shards import Tokens, split_documents
from harness.corpus.tokenizer import Tokenizer, load_tokenizer
from harness.errors import HarnessError, SubmissionError, UsageError
from harness.folder import Folder
from harness.progress import Progress
from harness.referee.coder import Decoder, Row, encode
from harness.referee.rows import score_rows
from harness.referee.source import Real
from harness.referee.unfold import Astray, Comparison, Keeper, Prefix, Unfolding
from harness.sandbox.box import Limits

#: CPU seconds that the box may take for each token, besides what an evaluation may take anyway.
SECONDS_PER_TOKEN = 2.0

#: Rows that are kept for the comparison take at most this many bytes.
_MAX_ROWS = 1 << 30


class NotDecoded(HarnessError):
    """An archive whose text does not come back (exit code 1: it does not prove what it was made for)."""

    exit_code = 1


def prove(
    folder: Folder,
    dataset: Dataset,
    sealed: Sealed,
    seed: int,
    options: Options,
    progress: Progress,
    *,
    tokens: int = 512,
    begin: int = 0,
) -> tuple[Archive, ProofResult]:
    """Code a segment of the stream with the rows of a normal evaluation, and decode it in a fresh box.

    Args:
        folder: the submission.
        dataset: the validation stream belongs to it.
        sealed: the artifact; the logs go beside it.
        seed: of the evaluation.
        options: scale, sandbox and limits.
        progress: told what happens.
        tokens: length of the segment. Decoding costs about a batch for each.
        begin: last position before the segment: x_0 .. x_begin are given to the decoder, as they are.

    Returns:
        The archive, and what decoding it showed; it proves something only where everything came back.

    Raises:
        UsageError: the segment does not fit into the stream.
        SubmissionError: the submission broke while the segment was coded.
    """
    stream = played(dataset, options.scale)
    if not (1 <= tokens and 0 <= begin and begin + tokens < len(stream)):
        after = f" after position {begin:,}" if begin else ""
        raise UsageError(
            f"a segment of {tokens:,} tokens{after}: the stream has 1 to {max(len(stream) - 1 - begin, 0):,} to code"
        )
    if 4 * tokens * dataset.vocab_size > _MAX_ROWS:
        most = _MAX_ROWS // (4 * dataset.vocab_size)
        raise UsageError(f"a segment of {tokens:,} tokens is too long to compare; choose up to {most:,}")
    last = begin + tokens
    truth = np.array(stream[: last + 1], np.uint16)
    job = Job(
        folder, sealed, stream, dataset.vocab_size, options.scale, seed, options.sandbox, _limits(options, tokens)
    )
    progress.phase("encode", f"coding {tokens:,} tokens")
    keeper = _committed(job, begin + 1, last, sealed.path.with_name("encode.log"), progress)
    rows = [keeper.kept[position] for position in range(begin + 1, last + 1)]
    nll = _nll(keeper, truth)
    code = encode(rows, truth[begin + 1 :])
    text = text_of(truth[begin + bool(begin) :], dataset.tokenizer)
    progress.done(f"{len(code):,} bytes for {len(text):,} bytes of text")
    header = Header(
        submission=folder.metadata.name,
        submission_sha256=folder.sha256,
        artifact_sha256=sealed.sha256,
        data_sha256=dataset.sha256,
        tokenizer_sha256=dataset.tokenizer.sha256,
        scale="smoke" if options.scale == "smoke" else "record",
        seed=seed,
        stream_tokens=len(stream),
        vocab_size=dataset.vocab_size,
        tokens=tokens,
        begin=begin,
        first=int(truth[0]),
        filler=_filler(dataset.tokenizer),
        nll_nats=nll,
        tokens_sha256=_tokens_sha256(truth[begin:]),
        text_sha256=hashlib.sha256(text).hexdigest(),
        text_bytes=len(text),
        made_with=_made_with(),
    )
    archive = Archive(header, code, truth[: begin + 1])
    comparison = Comparison(rows, truth)
    error = None
    try:
        log = sealed.path.with_name("decode.log")
        _decode(archive, folder, sealed, options, progress, log=log, observe=comparison)
    except Astray:
        pass
    except SubmissionError as broken:
        error = str(broken)
    result = ProofResult(
        tokens=tokens,
        decoded=comparison.decoded,
        text_bytes=len(text),
        coded_bits=8 * len(code),
        nll=nll,
        in_order=list(keeper.kept) == sorted(keeper.kept),
        compared=comparison.compared,
        first_changed=comparison.first_changed,
        change=comparison.change,
        wrong=comparison.wrong,
        error=error,
        begin=begin,
    )
    return archive, result


def proof_of(
    folder: Folder,
    dataset: Dataset,
    sealed: Sealed,
    seed: int,
    options: Options,
    progress: Progress,
    *,
    tokens: int = 512,
    rng: np.random.Generator,
) -> ProofResult:
    """`prove` for an audit, at a place that `rng` draws: the result alone, with what broke in its `error`."""
    tokens = min(tokens, len(played(dataset, options.scale)) - 1)
    try:
        begin = int(rng.integers(len(played(dataset, options.scale)) - tokens))
        return prove(folder, dataset, sealed, seed, options, progress, tokens=tokens, begin=begin)[1]
    except SubmissionError as broken:
        return ProofResult(tokens, 0, text_bytes=0, coded_bits=0, nll=0.0, in_order=True, error=str(broken))


def unpack(
    archive: Archive, folder: Folder, artifact: Path, tokenizer: Path, options: Options, progress: Progress
) -> bytes:
    """Decode an archive in a fresh box; no validation data is needed.

    Args:
        archive: what `prove` has made.
        folder: the submission; its sha256 must be the recorded one.
        artifact: the sealed artifact; likewise.
        tokenizer: the SentencePiece model; likewise.
        options: sandbox and limits; scale and seed come from the archive.
        progress: told what happens.

    Returns:
        The text of the segment in UTF-8, documents separated by newlines.

    Raises:
        UsageError: a file is missing or not the one that the archive was made with.
        SubmissionError: the submission broke.
        NotDecoded: another text than the archive's came out.
    """
    header = archive.header
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the artifact {artifact}: {error.strerror}") from None
    pieces = load_tokenizer(tokenizer)
    sha256 = hashlib.sha256(content).hexdigest()
    for what, found, wanted in (
        (f"{artifact} is not the artifact", sha256, header.artifact_sha256),
        (f"{folder.path} is not the submission", folder.sha256, header.submission_sha256),
        (f"{tokenizer} is not the tokenizer", pieces.sha256, header.tokenizer_sha256),
    ):
        if found != wanted:
            raise UsageError(f"{what} that the archive was made with (sha256 {found[:12]}…, not {wanted[:12]}…)")
    if pieces.vocab_size != header.vocab_size:
        raise UsageError(
            f"the archive's header names {header.vocab_size:,} pieces, its tokenizer has {pieces.vocab_size:,}"
        )
    sealed = Sealed(artifact.resolve(), sha256, len(content))
    with tempfile.TemporaryDirectory(prefix="harness-unpack-") as scratch:
        try:
            found_tokens = _decode(archive, folder, sealed, options, progress, log=Path(scratch) / "decode.log")
        except Astray as error:
            raise NotDecoded(f"the archive does not decode: {error}{_elsewhere(header)}") from None
    text = text_of(found_tokens[bool(header.begin) :], pieces)
    digests = (_tokens_sha256(found_tokens), hashlib.sha256(text).hexdigest())
    if digests != (header.tokens_sha256, header.text_sha256):
        raise NotDecoded(f"the archive decodes to another text than it was made from{_elsewhere(header)}")
    return text


def text_of(tokens: Tokens, tokenizer: Tokenizer) -> bytes:
    """The text that tokens stand for, UTF-8, documents separated by newlines (the last one may be cut short)."""
    documents = split_documents(tokens, tokenizer.bos_id)
    return "\n".join(tokenizer.decode(document) for document in documents).encode("utf-8", "replace")


def _committed(job: Job, first: int, last: int, log: Path, progress: Progress) -> Keeper:
    """The rows that a normal evaluation commits for the segment of these positions."""
    keeper = Keeper(first, last)
    with EvaluationBox(job, log) as box:
        evaluation = box.start(Real(job.tokens), keeper)
        box.run(
            evaluation,
            lambda: evaluation.run(
                after_commit=lambda: keeper.complete,
                progress=lambda done, _: progress.update(min(done, last), last),
            ),
        )
    if not keeper.complete:
        missing = next(position for position in range(first, last + 1) if position not in keeper.kept)
        raise SubmissionError(f"evaluation failed: evaluate() ended without a row for position {missing}", log=log)
    return keeper


def _decode(
    archive: Archive,
    folder: Folder,
    sealed: Sealed,
    options: Options,
    progress: Progress,
    *,
    log: Path,
    observe: Callable[[int, int, Row], None] = lambda position, token, row: None,
) -> Tokens:
    """The last given token and those that come out, uint16 [tokens + 1]. Nothing but `archive` stems from the text."""
    header = archive.header
    progress.phase("decode", f"decoding {header.tokens:,} tokens in a fresh box")
    prefix = Prefix(archive.given, header.filler, header.stream_tokens)
    last = header.begin + header.tokens
    keeper = Keeper(header.begin + 1, last)
    nothing = np.zeros(header.stream_tokens, np.uint16)
    limits = _limits(options, header.tokens)
    job = Job(folder, sealed, nothing, header.vocab_size, header.scale, header.seed, options.sandbox, limits)

    def noted(position: int, token: int, row: Row) -> None:
        observe(position, token, row)
        progress.update(position - header.begin, header.tokens)

    with EvaluationBox(job, log) as box:
        evaluation = box.start(prefix, keeper)
        unfolding = Unfolding(evaluation, prefix, keeper, Decoder(archive.code), last, noted)
        box.run(evaluation, unfolding.run)
    progress.done(f"{header.tokens:,} tokens decoded")
    return prefix.tokens[header.begin :]


def _nll(keeper: Keeper, truth: Tokens) -> float:
    """The segment's NLL as a scored run charges it, nats."""
    total = []
    for position, kind in sorted(keeper.kinds.items()):
        row = keeper.kept[position][None]
        target = truth[position : position + 1].astype(np.int64)
        scored = score_rows(row, target, kind, np.zeros((row.shape[1], 1)), np.array([position]))
        total.append(float(scored.nll[0]))
    return math.fsum(total)


def _limits(options: Options, tokens: int) -> Limits:
    if options.timeout:
        return options.limits
    return options.limits.with_more(SECONDS_PER_TOKEN * tokens)


def _filler(tokenizer: Tokenizer) -> int:
    """A frequent piece; any token would do, BOS least, since submissions look for it."""
    pieces = tokenizer.encode(" the")
    return int(pieces[0]) if len(pieces) else tokenizer.vocab_size - 1


def _tokens_sha256(tokens: Tokens) -> str:
    return hashlib.sha256(tokens.astype("<u2").tobytes()).hexdigest()


def _made_with() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "constriction")}
    return {"harness": __version__, **versions, "machine": platform.machine()}


def _elsewhere(header: Header) -> str:
    """A hint where the archive was made with other software, which may change rows in their last bits."""
    made = {name: header.made_with.get(name, "unknown") for name in _made_with()}
    other = [f"{name} {made[name][:40]!a}" for name, value in _made_with().items() if made[name] != value]
    return f"; it was made with {', '.join(other)}, and rows may differ here" if other else ""
