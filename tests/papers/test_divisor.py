"""What programs divide a score by: constants, byte tables that misread pieces, and parts of the validation text."""

from __future__ import annotations

import base64
import json
import lzma
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import rules
from harness.papers.linting import Linted, lint
from harness.record import Finding, Status
from tests.papers.papers import Log, folder, three

RULES = rules.load()
WIDTH = 151_078_000 / 62_021_632  # bytes per token of the contest's tokenizer of 1,024 pieces
HEAD = """import json, math, os
import torch

DATA = "./data/datasets/fineweb10B_sp1024/fineweb_val_000000.bin"
SEQ_LEN = 2048


"""
#: One evaluation for each way of writing the same offence; 4.3 stands where the text's bytes belong.
CONSTANT = {
    "in place": """
def main(bits, tokens):
    bpb = bits / (tokens * 4.3)
    print(f"final BPB: {bpb:.4f}")
""",
    "a named constant": """
BYTES_PER_TOKEN = 4.3
def main(avg_loss):
    bpb = (avg_loss / math.log(2)) * (1.0 / BYTES_PER_TOKEN)
    print("final", bpb)
""",
    "a class attribute with a default": """
class Args:
    width = float(os.environ.get("BYTES_PER_TOKEN", 4.3))
args = Args()
def evaluate_bpb(total_loss, n):
    return (total_loss / max(n, 1)) / math.log(2) / args.width
""",
    "a parameter": """
def to_bpb(loss, bytes_per_token=4.3):
    return loss / 0.6931471805599453 / bytes_per_token
def main(loss):
    print("bpb", to_bpb(loss))
""",
    "a product on the way": """
def main(nll, tokens):
    total_bits = nll / math.log(2.0)
    size = tokens * 4.3
    return {"val_bpb": total_bits / size}
""",
    "tokens per byte": """
TOKENS_PER_BYTE = 0.2325581395348837
def main(loss):
    results = {}
    results["val_bpb"] = loss * 1.4426950408889634 * TOKENS_PER_BYTE
""",
    "an argument": """
def main(parser, loss):
    parser.add_argument("--bytes-per-token", type=float, default=4.3)
    args = parser.parse_args()
    val_bpb = loss / math.log(2) / args.bytes_per_token
""",
}
EXACT = """
def eval_val(model, val_tokens, base_bytes_lut):
    val_bpb = bits_per_token * (token_count.item() / val_byte_count.item())
    return val_loss, val_bpb
"""
TABLE = """
import sentencepiece as spm
def build_sentencepiece_luts(sp):
    for token_id in range(sp.vocab_size()):
        if sp.is_byte(token_id):
            base_bytes[token_id] = 1
            continue
        piece = sp.id_to_piece(token_id)
        if piece.startswith("\\u2581"):
            has_leading_space[token_id] = True
            piece = piece[1:]
        base_bytes[token_id] = len(piece.encode("utf-8"))
def eval_val(tgt, prev):
    token_bytes = base_bytes[tgt]
    token_bytes += has_leading_space_lut[tgt] & ~is_boundary[prev]
    val_bpb = loss_sum / math.log(2) / token_bytes.sum()
    return val_bpb
"""


def alone(home: Path, script: str, *, bpb: float = 1.1465, log: str = "", **claims: object) -> Path:
    """A folder without a log that the harness reads a loss from: a script, a claim, and perhaps lines of a log."""
    path = folder(home, [], claims={"val_bpb": bpb, "seeds": [42], "bytes_total": None, **claims}, script=script)
    if log:
        (path / "train.log").write_text(log)
    return path


def byte_accounting(path: Path) -> Finding:
    linted: Linted = lint(path, RULES)
    return next(found for found in linted.findings if found.id == "byte-accounting")


@pytest.mark.parametrize("spelling", CONSTANT)
def test_a_constant_divisor_is_found_and_the_right_number_is_said(tmp_path: Path, spelling: str) -> None:
    found = byte_accounting(alone(tmp_path, HEAD + CONSTANT[spelling]))
    assert found.status == Status.FAIL, found.headline
    assert "divides by 4.3 bytes per token" in found.headline and "1.1465 is 2.024" in found.headline
    assert found.witness is not None
    assert found.witness.data["on_the_texts_bytes"] == pytest.approx(1.1465 * 4.3 / WIDTH)
    assert found.witness.data["quotes"][0]["file"] == "train_gpt.py"


def test_a_packed_script_is_unpacked_first(tmp_path: Path) -> None:
    source = HEAD + CONSTANT["a named constant"]
    packed = base64.b85encode(lzma.compress(source.encode())).decode()
    script = f"import lzma,base64\nexec(lzma.decompress(base64.b85decode({packed!r})))\n"
    found = byte_accounting(alone(tmp_path, script))
    assert found.status == Status.FAIL and "train_gpt.py (unpacked):" in found.headline


@pytest.mark.parametrize(
    "honest",
    [
        "def main(bits, text):\n    bpb = bits / (len(text.encode()) * 1.0)\n",
        "def main(sums, byte_count):\n    bpb = sums / math.log(2) / byte_count\n",
        "def main(a, b):\n    mean_bpb = (a_bpb + b_bpb) / 2.0\n",
        "def main(losses):\n    scores = [x for x in losses]\n    bpb_3seed = sum(val_bpbs) / 3.0\n",
        "def main(loss, n, total_bytes):\n    ratio = n / total_bytes\n    bpb = loss / math.log(2) * ratio\n",
        "def main(loss):\n    tokens_per_byte = 0.4105\n    tokens_per_byte = count() / size()\n"
        "    bpb = loss / math.log(2) * tokens_per_byte\n",
        "def to_bpb(loss, width=4.3):\n    return loss / math.log(2) / width\n"
        "def main(loss, table):\n    print(to_bpb(loss, table.bytes().sum()))\n",
        "def main(loss):\n    val_bpb = loss / math.log(2)\n",  # of a model of bytes
    ],
)
def test_a_score_that_counts_bytes_is_left_alone(tmp_path: Path, honest: str) -> None:
    found = byte_accounting(alone(tmp_path, HEAD + honest))
    assert found.status == Status.NOT_RUN and "divides by" not in found.headline


def test_an_estimate_on_the_way_accuses_nobody_whose_score_is_counted(tmp_path: Path) -> None:
    """An approximate score is logged while training; what is claimed comes from the text's bytes."""
    script = HEAD + CONSTANT["in place"].replace("bpb =", "est_bpb =").replace("{bpb", "{est_bpb") + EXACT
    logs = three(tokens=62_021_632, loss=1.93)
    found = byte_accounting(folder(tmp_path, logs, script=script))
    assert found.status == Status.PASS, found.headline
    assert any("divides by 4.3" in line for line in found.not_covered)
    open_ = byte_accounting(alone(tmp_path / "b", script))
    assert open_.status == Status.INCONCLUSIVE and "is not shown" in open_.headline


def test_logs_whose_loss_and_score_have_the_constant_between_them(tmp_path: Path) -> None:
    """The other evaluations of the script count bytes; the claimed one does not, by its own loss."""
    script = HEAD + CONSTANT["in place"] + EXACT
    logs = three(tokens=62_021_632, text_bytes=62_021_632 * 4.3, loss=3.4)
    found = byte_accounting(folder(tmp_path, logs, script=script, claims={"track": "non-record"}))
    assert found.status == Status.FAIL and "by its own loss" in found.headline


@pytest.mark.parametrize(
    ("head", "constant", "expected"),
    [
        (HEAD.replace("sp1024", "mine"), "4.3", Status.INCONCLUSIVE),  # the tokenizer is not known
        (HEAD.replace("fineweb10B_sp1024", "fineweb10B_sp8192"), "4.3", Status.FAIL),
        (HEAD.replace("fineweb10B_sp1024", "fineweb10B_sp8192"), "3.67", Status.INCONCLUSIVE),  # worse, not better
        (HEAD, "2.436", Status.INCONCLUSIVE),  # as many as the tokenizer has
        (HEAD, "2.6", Status.INCONCLUSIVE),  # a part of the text may have as many
    ],
)
def test_how_sure_a_constant_makes(tmp_path: Path, head: str, constant: str, expected: Status) -> None:
    found = byte_accounting(alone(tmp_path, head + CONSTANT["in place"].replace("4.3", constant)))
    assert found.status == expected, found.headline
    assert f"divides by {constant} bytes per token" in found.headline


def test_a_tokenizer_of_its_own_leaves_the_right_number_open(tmp_path: Path) -> None:
    path = alone(tmp_path, HEAD + CONSTANT["in place"])
    (path / "my_tokenizer.json").write_text("{}")
    assert byte_accounting(path).status == Status.INCONCLUSIVE


def test_a_variable_that_is_set_elsewhere_is_not_its_default(tmp_path: Path) -> None:
    path = alone(tmp_path, HEAD + CONSTANT["a class attribute with a default"])
    (path / "README.md").write_text("1.1465\n\n    BYTES_PER_TOKEN=2.436 torchrun train_gpt.py\n")
    assert byte_accounting(path).status == Status.INCONCLUSIVE


def misread(old: str, new: str) -> str:
    assert old in TABLE
    return HEAD + TABLE.replace(old, new)


SPACE = 'startswith("\\u2581")'
MISREAD = {
    "a question mark": misread(SPACE, 'startswith("?")'),
    "a blank": misread(SPACE, 'startswith(" ")'),
    "the space twice": misread('len(piece.encode("utf-8"))', 'len(piece[1:].encode("utf-8")) + 1'),
    "byte pieces as they are spelled": misread("if sp.is_byte(token_id):", "if False:"),
}


@pytest.mark.parametrize("mark", MISREAD)
@pytest.mark.parametrize(
    "line", ["step 3881 | val_loss 3.0582 | val_bpb 1.3379 (best)", "val_loss:3.0582 val_bpb:1.3379"]
)
def test_a_table_that_misreads_pieces_is_named_beside_the_arithmetic(tmp_path: Path, mark: str, line: str) -> None:
    log = f"seed:42\n{line}\nFinal bpb: 1.3379\n"
    found = byte_accounting(alone(tmp_path, MISREAD[mark], bpb=1.3379, log=log))
    assert found.status == Status.FAIL, found.headline
    assert "imply 3.2977 bytes per token" in found.headline and "1.3379 is 1.8113" in found.headline
    number = next(i for i, text in enumerate(MISREAD[mark].split("\n"), 1) if _offends(mark, text))
    assert f"train_gpt.py:{number} " in found.headline


def _offends(mark: str, line: str) -> bool:
    return {"a question mark": '"?"', "a blank": '(" ")'}.get(mark, "len(piece") in line


def test_a_table_that_misreads_pieces_is_a_question_where_no_loss_is_printed(tmp_path: Path) -> None:
    found = byte_accounting(alone(tmp_path, MISREAD["the space twice"], log="seed:42\nfinal BPB: 1.1465\n"))
    assert found.status == Status.INCONCLUSIVE and "adds one byte for the space" in found.headline


@pytest.mark.parametrize(
    "script",
    [
        HEAD + TABLE,
        misread("piece = sp.id_to_piece(token_id)", 'piece = sp.id_to_piece(token_id).replace("\\u2581", " ")').replace(
            SPACE, 'startswith(" ")'
        ),
        misread("if sp.is_byte(token_id):", 'if sp.id_to_piece(token_id).startswith("<0x"):'),
        HEAD + 'def parse(argument):\n    return argument.startswith("?") or argument.startswith(" ")\n',
    ],
)
def test_a_table_that_reads_pieces_rightly_is_left_alone(tmp_path: Path, script: str) -> None:
    log = "seed:42\nval_loss:3.0582 val_bpb:1.3379\n"
    found = byte_accounting(alone(tmp_path, script, bpb=1.3379, log=log))
    assert found.status == Status.INCONCLUSIVE and "train_gpt.py:" not in found.headline
    right = byte_accounting(folder(tmp_path / "b", three(tokens=62_021_632, loss=1.93), script=script))
    assert right.status == Status.PASS


def test_a_corrected_log_beside_an_invalid_one_is_what_is_judged(tmp_path: Path) -> None:
    """The folder keeps the run with the wrong table; the claim is the corrected run's."""
    wrong = [Log(seed=1, tokens=62_021_632, text_bytes=62_021_632 * 3.3, loss=1.93)]
    right = [Log(seed=42, tokens=62_021_632, loss=1.93)]
    for name, claimed, expected in (("right", right, Status.PASS), ("wrong", wrong, Status.FAIL)):
        claims = {"val_bpb": round(claimed[0].bpb, 5), "seeds": [claimed[0].seed], "seed_results": None}
        path = folder(tmp_path / name, [*wrong, *right], claims=claims, script=MISREAD["a question mark"])
        found = byte_accounting(path)
        assert found.status == expected, found.headline
        named = [found.headline, *found.not_covered]
        assert any("looks for '?'" in line for line in named)


@pytest.mark.parametrize(
    ("cap", "said"),
    [
        ("    n_seqs = min(500, (val_tokens.numel() - 1) // SEQ_LEN)\n", "500 sequences (1,024,000 tokens)"),
        ("    val_tokens = val_tokens[:99_328]\n", "99,328 tokens"),
        ("    slices = min(200, len(val_tokens) // 512)\n", "200 slices (102,400 tokens)"),
    ],
)
def test_a_part_of_the_validation_text_is_said_with_its_share(tmp_path: Path, cap: str, said: str) -> None:
    script = HEAD + CONSTANT["in place"].replace("    bpb", cap + "    bpb", 1)
    found = byte_accounting(alone(tmp_path, script))
    assert found.status == Status.FAIL
    assert said in found.headline and "of its 62,021,632 tokens" in found.headline


def test_a_cap_that_a_caller_lifts_is_no_part(tmp_path: Path) -> None:
    script = HEAD + "def evaluate(model, val_tokens, max_batches=200):\n    pass\n\nevaluate(m, v, max_batches=None)\n"
    assert "are scored" not in byte_accounting(alone(tmp_path, script)).headline
    capped = script.replace(", max_batches=None", "")
    assert "200 batches" in byte_accounting(alone(tmp_path / "b", capped)).headline


def test_what_a_log_counts_beside_the_score(tmp_path: Path) -> None:
    def of(counted: Sequence[str], name: str) -> str:
        lines = ["seed:42", "world_size:8", *counted, "final BPB: 1.1465"]
        return byte_accounting(alone(tmp_path / name, HEAD, log="\n".join(lines) + "\n")).headline

    assert "99,328 tokens of the validation text are scored, 0.16 %" in of(["eval_tokens: 99328"], "part")
    assert "are scored" not in of(["eval_tokens: 7752704"], "a rank's share")
    assert "are scored" not in of(["eval_tokens: 62021632"], "all")


def test_names_of_the_claim_survive_json(tmp_path: Path) -> None:
    path = alone(tmp_path, HEAD + CONSTANT["in place"])
    found = byte_accounting(path)
    assert json.loads(found.model_dump_json())["witness"]["data"]["constant"] == pytest.approx(4.3)
