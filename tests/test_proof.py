"""Proof by decompression: the coder, decoding from scripted scorers, and whole submissions in their boxes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.adapters import proof as proofs
from harness.adapters.archive import MAGIC, Archive
from harness.adapters.options import Options
from harness.adapters.proof import NotDecoded, proof_of, prove, text_of, unpack
from harness.adapters.training import Sealed, train
from harness.audit import proof as check
from harness.audit.evidence import ProofResult
from harness.cli.prove import command as prove_command
from harness.cli.unpack import command as unpack_command
from harness.corpus.dataset import Dataset
from harness.errors import SubmissionError, UsageError
from harness.folder import Folder
from harness.kit.stream import Stream
from harness.progress import Progress
from harness.record import Status
from harness.referee.coder import Decoder, Row, encode, log_chances
from harness.referee.source import Tokens
from harness.referee.unfold import Astray, Comparison, Keeper, Prefix, Unfolding
from tests.audit.evidence_builder import clean_trace, evidence, settled
from tests.referee.scripted import VOCAB, Scorer, evaluating, tokens_of
from tests.support import shipped, tiny_documents, write_submission

# The coder


def nll_bits(rows: list[Row], tokens: Tokens) -> float:
    return -sum(log_chances(row, 1)[token] for row, token in zip(rows, tokens, strict=True)) / math.log(2)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 400), st.floats(0.0, 30.0))
@settings(max_examples=40, deadline=None)
def test_what_is_coded_decodes_at_the_price_of_its_nll(seed: int, count: int, vocab: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    rows = list((rng.standard_normal((count, vocab)) * spread).astype(np.float32))
    tokens = rng.integers(0, vocab, count).astype(np.uint16)
    code = encode(rows, tokens)
    decoder = Decoder(code)
    assert [decoder.next(row, 1) for row in rows] == tokens.tolist()
    assert 8 * len(code) <= 1.001 * nll_bits(rows, tokens) + 10


def test_a_token_without_probability_can_still_be_coded() -> None:
    row = np.full(9, -np.inf, np.float32)
    row[2] = 0.0
    assert Decoder(encode([row, row], np.array([5, 2], np.uint16))).next(row, 1) == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_no_row_cannot_be_coded(bad: float) -> None:
    row = np.zeros(5, np.float32)
    row[3] = bad
    with pytest.raises(SubmissionError, match="position 1 holds NaN"):
        encode([row], np.array([1], np.uint16))


def test_a_damaged_code_gives_other_tokens() -> None:
    rng = np.random.default_rng(0)
    rows = list(rng.standard_normal((40, 50)).astype(np.float32))
    tokens = rng.integers(0, 50, 40).astype(np.uint16)
    code = bytearray(encode(rows, tokens))
    code[3] ^= 16
    decoder = Decoder(bytes(code))
    assert [decoder.next(row, 1) for row in rows] != tokens.tolist()


def test_impossible_code_is_noticed_and_no_crash() -> None:
    decoder = Decoder(b"\xff" * 8)
    row = np.log(np.full(3, 1 / 3)).astype(np.float32)
    assert -1 in [decoder.next(row, 1) for _ in range(40)]


# Decoding from scripted scorers

TOKENS = tokens_of(60, seed=3)
TABLE = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))


def windows(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        stream.score(batch, TABLE[batch.inputs])


def one_by_one(stream: Stream) -> None:
    for position in range(1, stream.tokens):
        stream.commit(torch.tensor([position]), TABLE[stream.read(position - 1, position)])


def counts_what_is_scored(stream: Stream) -> None:
    """Reads two chunks ahead, and adapts to the chunks that it has scored."""
    seen = torch.ones(VOCAB)
    for start in range(0, stream.tokens - 1, 10):
        stop = min(start + 10, stream.tokens - 1)
        inputs = stream.read(start, min(start + 20, stream.tokens))[: stop - start]
        stream.commit(torch.arange(start + 1, stop + 1), TABLE[inputs] + seen.log())
        seen += torch.bincount(stream.history(start + 1, stop + 1), minlength=VOCAB)


def commits_twice(stream: Stream) -> None:
    """The second commit of a position, of which a decoder knows too much, does not count."""
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        stream.score(batch, TABLE[batch.inputs])
        stream.score(batch, 9 * torch.nn.functional.one_hot(stream.targets(batch), VOCAB).float())


def own_token(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        stream.score(batch, TABLE[batch.inputs] + 3 * torch.nn.functional.one_hot(stream.targets(batch), VOCAB))


def shared_in_batch(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        seen = stream.targets(batch)[batch.scored]
        stream.score(batch, TABLE[batch.inputs] + 0.01 * TABLE[seen].mean(0))


def leaks_late(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        late = (batch.positions > 30).float()[:, None]
        answers = torch.nn.functional.one_hot(stream.targets(batch)[batch.scored], VOCAB)
        stream.score(batch, TABLE[batch.inputs[batch.scored]] + 5 * late * answers)


def stops_early(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=1):
        stream.score(batch, TABLE[batch.inputs])
        if batch.windows[0].start == 8:
            return


def breaks_on_a_lie(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        if sum((batch.inputs == FILLER).flatten()) > 20:
            raise SystemExit
        stream.score(batch, TABLE[batch.inputs])


FILLER = 7


def decoded(scorer: Scorer, count: int) -> tuple[Tokens, Comparison]:
    """Code with the rows of one evaluation, decode from another whose process is not given the tokens."""
    keeper = Keeper(1, count)
    with evaluating(scorer, TOKENS, keeper) as evaluation:
        evaluation.run(after_commit=lambda: keeper.complete)
    rows = [keeper.kept[position] for position in range(1, count + 1)]
    code = encode(rows, TOKENS[1 : count + 1])
    prefix, keeper = Prefix(TOKENS[:1], FILLER, len(TOKENS)), Keeper(1, count)
    comparison = Comparison(rows, TOKENS[: count + 1])
    with evaluating(scorer, np.zeros_like(TOKENS), keeper) as evaluation:
        evaluation.source = prefix
        try:
            Unfolding(evaluation, prefix, keeper, Decoder(code), count, comparison).run()
        except Astray:
            assert comparison.wrong is not None
    return prefix.tokens, comparison


@pytest.mark.parametrize("scorer", [windows, one_by_one, counts_what_is_scored, commits_twice])
@pytest.mark.parametrize("count", [1, 30, 59])
def test_legal_scorers_give_the_tokens_back(scorer: Scorer, count: int) -> None:
    tokens, comparison = decoded(scorer, count)
    assert tokens.tolist() == TOKENS[: count + 1].tolist()
    assert comparison.decoded == comparison.compared == count
    assert comparison.wrong is None and comparison.first_changed is None and comparison.change == 0


@pytest.mark.parametrize("scorer", [own_token, shared_in_batch])
def test_leaking_scorers_do_not(scorer: Scorer) -> None:
    tokens, comparison = decoded(scorer, 59)
    assert comparison.wrong is not None and comparison.change is not None and comparison.change > 0
    position, token, instead, _, _ = comparison.wrong
    assert token == TOKENS[position] and instead != token
    assert comparison.first_changed is not None and comparison.first_changed <= position
    assert len(tokens) == position and comparison.decoded == position - 1


def test_the_first_changed_row_is_where_the_leak_begins() -> None:
    _, comparison = decoded(leaks_late, 59)
    assert comparison.first_changed == 31
    assert comparison.wrong is not None and comparison.wrong[0] >= 31
    assert decoded(leaks_late, 30)[1].wrong is None


def test_a_stream_that_ends_too_soon_and_a_scorer_that_breaks_are_said() -> None:
    keeper, prefix = Keeper(1, 40), Prefix(np.zeros(1, np.uint16), FILLER, 60)
    with evaluating(stops_early, TOKENS, keeper) as evaluation:
        evaluation.source = prefix
        with pytest.raises(SubmissionError, match="without a row for position 21"):
            Unfolding(evaluation, prefix, keeper, Decoder(b""), 40).run()
    with pytest.raises(SubmissionError, match="ended early"):
        decoded(breaks_on_a_lie, 20)


def test_a_claim_about_the_realised_token_alone_is_nothing_to_decode_from() -> None:
    def claims(stream: Stream) -> None:
        stream.read(0, 5)
        stream.claim(torch.arange(1, 5), torch.zeros(4))

    with evaluating(claims, TOKENS, Keeper(1, 4)) as evaluation:
        with pytest.raises(SubmissionError, match="one probability"):
            evaluation.run()


# The check


def result(**facts: object) -> ProofResult:
    clean = {"tokens": 100, "decoded": 100, "text_bytes": 250, "coded_bits": 296, "nll": 200.0, "compared": 100}
    return ProofResult(**{**clean, "in_order": True, **facts})  # type: ignore[arg-type]


WRONG = {"decoded": 4, "wrong": (5, 17, 20, 0.1, 3.0), "first_changed": 2, "change": 0.7, "compared": 5}


@pytest.mark.parametrize(
    ("facts", "status", "says"),
    [
        ({}, Status.PASS, "came back from a code of 296 bits; the score claims 288.5"),
        (WRONG, Status.FAIL, "astray at token 5 of 100"),
        ({**WRONG, "in_order": False}, Status.INCONCLUSIVE, "out of stream order"),
        ({"decoded": 4, "error": "it hung"}, Status.INCONCLUSIVE, "4 of 100 tokens decoded, then: it hung"),
        ({"coded_bits": 320}, Status.FAIL, "no distributions"),
    ],
)
def test_what_the_check_concludes(dataset: Dataset, facts: dict[str, object], status: Status, says: str) -> None:
    found = settled(check.check(evidence(dataset, proof=result(**facts))), status)
    assert says in found.headline and found.rule == "proof"
    if facts.get("wrong") and status == Status.FAIL:
        assert found.witness is not None and found.witness.data["position"] == 5


def test_noise_is_no_leak(dataset: Dataset) -> None:
    base = evidence(dataset)
    assert base.difference is not None
    noisy = dataclasses.replace(base.difference, max_nll=1.0)
    settled(check.check(evidence(dataset, proof=result(**WRONG), difference=noisy)), Status.INCONCLUSIVE)


def test_a_proof_of_other_rows_is_no_proof_of_the_score(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation), nll=1.9)
    found = settled(check.check(evidence(dataset, trace, proof=result())), Status.INCONCLUSIVE)
    assert "other rows" in found.headline


def test_without_a_proof_nothing_is_said(dataset: Dataset) -> None:
    assert "harness prove" in settled(check.check(evidence(dataset)), Status.NOT_RUN).headline


# Whole submissions

OPTIONS = Options(timeout=300.0)
COUNT = 90
RNG = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Trained:
    folder: Folder
    sealed: Sealed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proofs")


def trained(home: Path, dataset: Dataset, name: str) -> Trained:
    """A shipped submission at the tiny size; trained once, and taken from its seal afterwards."""
    folder = write_submission(home / "submissions" / name, code=shipped(name))
    out = home / "runs" / name
    out.mkdir(parents=True, exist_ok=True)
    with Progress(quiet=True) as progress:
        sealed = train(folder, dataset, 1, out, OPTIONS, progress)
    return Trained(folder, sealed)


def proven(it: Trained, dataset: Dataset, tokens: int) -> tuple[Archive, ProofResult]:
    with Progress(quiet=True) as progress:
        return prove(it.folder, dataset, it.sealed, 1, OPTIONS, progress, tokens=tokens)


def unpacked(archive: Archive, it: Trained, dataset: Dataset, *, artifact: Path | None = None) -> bytes:
    with Progress(quiet=True) as progress:
        return unpack(archive, it.folder, artifact or it.sealed.path, dataset.tokenizer.path, OPTIONS, progress)


@pytest.fixture(scope="module")
def baseline(home: Path, dataset: Dataset) -> Trained:
    return trained(home, dataset, "baseline")


@pytest.fixture(scope="module")
def archive(baseline: Trained, dataset: Dataset) -> Archive:
    found, outcome = proven(baseline, dataset, COUNT)
    status, headline = check.conclude(outcome)
    assert status == Status.PASS, headline
    assert outcome.decoded == outcome.compared == COUNT and outcome.first_changed is None
    assert outcome.coded_bits <= 1.01 * outcome.nll / math.log(2) + 8
    return found


def test_the_text_comes_back_without_the_data(archive: Archive, baseline: Trained, dataset: Dataset) -> None:
    text = unpacked(archive, baseline, dataset)
    assert dataset.texts is not None
    assert len(text) == archive.header.text_bytes > COUNT
    assert "\n".join(dataset.texts).encode().startswith(text)
    stream = np.asarray(dataset.validation)
    assert text == text_of(stream[: COUNT + 1], dataset.tokenizer)


def test_slot_per_window_decodes_over_several_reads(home: Path, dataset: Dataset) -> None:
    _, outcome = proven(trained(home, dataset, "causal_slot"), dataset, COUNT)
    status, headline = check.conclude(outcome)
    assert status == Status.PASS, headline


def test_slot_on_the_scored_positions_does_not_decode(home: Path, dataset: Dataset) -> None:
    leaking = trained(home, dataset, "scored_slot")
    archive, outcome = proven(leaking, dataset, COUNT)
    assert check.conclude(outcome)[0] == Status.FAIL
    found = settled(check.check(evidence(dataset, proof=outcome)), Status.FAIL)
    assert found.witness is not None and found.witness.data["change"] > 0
    with pytest.raises(NotDecoded, match="another text|does not decode"):
        unpacked(archive, leaking, dataset)


def test_a_segment_in_the_middle_is_decoded_from_what_comes_before_it(
    baseline: Trained, dataset: Dataset, tmp_path: Path
) -> None:
    begin, count = 700, 12
    with Progress(quiet=True) as progress:
        archive, outcome = proofs.prove(
            baseline.folder, dataset, baseline.sealed, 1, OPTIONS, progress, tokens=count, begin=begin
        )
    assert check.conclude(outcome)[0] == Status.PASS and (outcome.begin, outcome.decoded) == (begin, count)
    (tmp_path / "proof.golf").write_bytes(archive.to_bytes())
    loaded = Archive.load(tmp_path / "proof.golf")
    assert loaded.given.tolist() == dataset.validation[: begin + 1].tolist() and loaded.code == archive.code
    text = unpacked(loaded, baseline, dataset)
    assert text == proofs.text_of(dataset.validation[begin + 1 : begin + 1 + count], dataset.tokenizer)


def test_an_audit_proves_a_segment_that_is_drawn(baseline: Trained, dataset: Dataset) -> None:
    with Progress(quiet=True) as progress:
        made = [
            proof_of(
                baseline.folder,
                dataset,
                baseline.sealed,
                1,
                OPTIONS,
                progress,
                tokens=2,
                rng=np.random.default_rng(seed),
            )
            for seed in (1, 2)
        ]
    begins = [one.begin for one in made if one is not None and one.decoded == 2]
    assert len(set(begins)) == 2 and all(0 <= begin < len(dataset.validation) - 2 for begin in begins)


def test_one_token_is_a_segment_too(baseline: Trained, dataset: Dataset) -> None:
    archive, outcome = proven(baseline, dataset, 1)
    assert check.conclude(outcome)[0] == Status.PASS and outcome.decoded == 1
    assert len(archive.code) <= 3


@pytest.mark.parametrize("tokens", [0, -1, 10**9])
def test_a_segment_outside_the_stream(baseline: Trained, dataset: Dataset, tokens: int) -> None:
    with pytest.raises(UsageError, match=f"the stream has 1 to {len(dataset.validation) - 1:,}"):
        proven(baseline, dataset, tokens)


def test_the_whole_length_less_one_is_no_segment_either(baseline: Trained, dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="the stream has"):
        proven(baseline, dataset, len(dataset.validation))


def test_another_artifact_submission_or_tokenizer(
    archive: Archive, baseline: Trained, dataset: Dataset, tmp_path: Path
) -> None:
    other = tmp_path / "artifact.bin"
    other.write_bytes(baseline.sealed.path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="is not the artifact that"):
        unpacked(archive, baseline, dataset, artifact=other)
    with pytest.raises(UsageError, match="cannot read the artifact"):
        unpacked(archive, baseline, dataset, artifact=tmp_path / "nowhere")
    stranger = Trained(write_submission(tmp_path / "stranger"), baseline.sealed)
    with pytest.raises(UsageError, match="is not the submission that"):
        unpacked(archive, stranger, dataset)
    header = archive.header.model_copy(update={"tokenizer_sha256": "0" * 64})
    with pytest.raises(UsageError, match="is not the tokenizer that"):
        unpacked(dataclasses.replace(archive, header=header), baseline, dataset)


def test_a_forged_code_or_text_is_not_taken_for_the_real_one(
    archive: Archive, baseline: Trained, dataset: Dataset
) -> None:
    code = bytes([archive.code[0] ^ 64]) + archive.code[1:]
    with pytest.raises(NotDecoded) as caught:
        unpacked(dataclasses.replace(archive, code=code), baseline, dataset)
    assert caught.value.exit_code == 1
    header = archive.header.model_copy(update={"text_sha256": "0" * 64, "made_with": {"torch": "0.1"}})
    with pytest.raises(NotDecoded, match="another text .*made with .*torch '0.1'"):
        unpacked(dataclasses.replace(archive, header=header), baseline, dataset)


def test_an_archive_reads_back_and_damage_is_seen(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "proof.golf"
    content = archive.to_bytes()
    path.write_bytes(content)
    assert Archive.load(path) == archive
    for at in (len(MAGIC) + 1, 100, len(content) - 40, len(content) - 1):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UsageError, match="damaged"):
            Archive.load(path)
    path.write_bytes(content[:-5])
    with pytest.raises(UsageError, match="damaged"):
        Archive.load(path)
    for nonsense in (b"", b"PK\3\4" + content, MAGIC):
        path.write_bytes(nonsense)
        with pytest.raises(UsageError, match="not a proof archive"):
            Archive.load(path)
    with pytest.raises(UsageError, match="cannot read"):
        Archive.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens": 0}, "tokens"),
        ({"stream_tokens": 50}, "do not fit"),
        ({"first": 60_000}, "do not fit"),
        ({"stream_tokens": 1 << 40}, "stream_tokens"),
        ({"coder": "gzip"}, "was coded by 'gzip'"),
        ({"format": "golf-harness.proof/9"}, "format"),
        ({"extra\x1b[2J": 1}, r"extra\\x1b\[2J: Extra"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_header_that_makes_no_sense(archive: Archive, tmp_path: Path, change: dict[str, object], says: str) -> None:
    head = json.dumps({**archive.header.model_dump(mode="json"), **change}).encode()
    body = MAGIC + len(head).to_bytes(4, "little") + head + archive.code
    path = tmp_path / "proof.golf"
    path.write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(UsageError, match=says):
        Archive.load(path)


def test_a_submission_that_breaks_is_a_result_for_the_audit(tmp_path: Path, dataset: Dataset) -> None:
    folder = write_submission(tmp_path / "broken", "def evaluate(self, model, stream): raise ValueError('no')")
    artifact = tmp_path / "artifact.bin"
    artifact.write_bytes(b"nothing")
    sealed = Sealed(artifact, hashlib.sha256(b"nothing").hexdigest(), 7)
    with Progress(quiet=True) as progress:
        outcome = proof_of(folder, dataset, sealed, 1, OPTIONS, progress, tokens=5, rng=RNG)
    assert outcome.error is not None and outcome.decoded == 0
    assert check.conclude(outcome)[0] == Status.INCONCLUSIVE


# The commands


def test_prove_and_unpack_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_submission(tmp_path / "mine")
    lines = (json.dumps({"text": text}) for text in tiny_documents())
    (tmp_path / "tiny.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    group, runner = click.Group(commands={"prove": prove_command, "unpack": unpack_command}), CliRunner()
    data = ["--data", "tiny.jsonl", "--cache", "cache", "-q"]
    done = runner.invoke(group, ["prove", "mine", "--tokens", "12", *data])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("PASS: 12 tokens") and "runs/mine/proof.golf" in done.output
    tokenizer = done.output.rsplit("tokenizer ", 1)[1].strip().rstrip(")")
    files = ["--submission", "mine", "--artifact", "runs/mine/artifact.bin", "--tokenizer", tokenizer, "-q"]
    done = runner.invoke(group, ["unpack", "runs/mine/proof.golf", *files])
    assert done.exit_code == 0 and done.output.startswith("Document "), done.output
    done = runner.invoke(group, ["unpack", "runs/mine/proof.golf", *files, "--out", "text"])
    assert done.exit_code == 0 and (tmp_path / "text").read_text().startswith("Document ")
    done = runner.invoke(group, ["unpack", "runs/mine/seal.json", *files])
    assert isinstance(done.exception, UsageError)
