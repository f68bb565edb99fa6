"""Logs tied to the code: for each kind an offender that is caught and a clean neighbour that is left alone."""

from __future__ import annotations

import base64
import json
import lzma
import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness import rules
from harness.papers.linting import Linted, lint
from harness.record import Finding, Status
from tests.papers.papers import SCRIPT, Log, folder, three

RULES = rules.load()
#: Of the size of real ones, so that what it packs to is more than a stub.
LONG = SCRIPT + "".join(f"kept_{n} = {random.Random(n).random()!r}\n" for n in range(150))


def claims(path: Path) -> Finding:
    return of(lint(path, RULES))


def of(linted: Linted) -> Finding:
    return next(found for found in linted.findings if found.id == "claims")


def questions(found: Finding) -> str:
    return "\n".join(map(str, found.value("to_be_explained") or []))  # type: ignore[arg-type]


def packed(source: str) -> str:
    text = base64.b85encode(lzma.compress(source.encode())).decode()
    return f"import lzma as L,base64 as B\nexec(L.decompress(B.b85decode({text!r})))\n"


@pytest.mark.parametrize("wrap", [str, packed], ids=["plain", "packed"])
def test_a_headline_that_the_code_cannot_print(tmp_path: Path, wrap: object) -> None:
    script = wrap(SCRIPT)  # type: ignore[operator]
    clean = claims(folder(tmp_path / "clean", three(code=len(script)), script=script))
    assert clean.status == Status.PASS and "lines of the score and texts of the code" in clean.headline
    found = claims(folder(tmp_path, three(code=len(script), label="final_ppm_mix"), script=script))
    assert found.status == Status.FAIL and found.witness is not None, found.headline
    assert "no text of the shipped code can print" in found.headline and "train_gpt.py:" in found.headline
    (quote,) = found.witness.data["quotes"][:1]
    assert quote["text"].startswith("final_ppm_mix val_loss:")


def test_a_helper_beside_the_script_may_print_it(tmp_path: Path) -> None:
    path = folder(tmp_path, three(label="final_ppm_mix"), script="import mixing\n" + SCRIPT)
    assert claims(path).status == Status.PASS  # the module is not there, so who knows what it prints
    (path / "mixing.py").write_text("def show(a, b, t):\n    pass\n")
    assert claims(path).status == Status.FAIL
    (path / "mixing.py").write_text(
        'def show(a, b, t):\n    print(f"final_ppm_mix val_loss:{a:.8f} val_bpb:{b:.8f} eval_time:{t}ms")\n'
    )
    assert claims(path).status != Status.FAIL and "can print" not in questions(claims(path))


@pytest.mark.parametrize(
    "more",
    ["import a_package_of_theirs", "import runpy\nrunpy.run_path('../base/train_gpt.py')",
     "import subprocess\nsubprocess.run(['bash', '-c', what])", "exec(fetched)"],
)  # fmt: skip
def test_nobody_is_accused_where_code_cannot_be_read(tmp_path: Path, more: str) -> None:
    found = claims(folder(tmp_path, three(label="final_ppm_mix"), script=f"{more}\n{SCRIPT}"))
    assert found.status != Status.FAIL and "can print" not in questions(found)
    assert any("whether the code printed" in line for line in found.not_covered)


def test_a_claim_that_no_log_carries_is_only_asked_about(tmp_path: Path) -> None:
    numbers = {"val_bpb": 1.01, "seed_results": None}
    found = claims(folder(tmp_path, three(label="final_ppm_mix"), claims=numbers))
    assert found.status == Status.INCONCLUSIVE and "can print" in questions(found)


def test_a_script_that_prints_no_score_is_not_the_one_that_trained(tmp_path: Path) -> None:
    found = claims(folder(tmp_path, script="import torch\nprint(f'loss {torch.rand(1)}')\n" + "x = 1\n" * 20))
    assert found.status == Status.INCONCLUSIVE and "can print" in questions(found)


def test_other_lines_that_the_code_cannot_print_are_a_question(tmp_path: Path) -> None:
    path = folder(tmp_path, script=SCRIPT.replace("Total submission size {kind}", "Sum {kind}"))
    found = claims(path)
    assert found.status == Status.INCONCLUSIVE and "Total submission size quantized+brotli" in questions(found)


def test_settings_that_no_code_names(tmp_path: Path) -> None:
    logs = [replace(log, settings={"ttt_hash_buckets": 4096}) for log in three()]
    found = claims(folder(tmp_path, logs))
    assert found.status == Status.INCONCLUSIVE and "ttt_hash_buckets" in questions(found)
    assert claims(folder(tmp_path / "b", logs, script=SCRIPT + "TTT_HASH_BUCKETS = 4096\n")).status == Status.PASS


def with_source(path: Path, logs: list[Log], text: str) -> None:
    for log in logs:
        (path / f"train_seed{log.seed}.log").write_text(f"{text}\n{'=' * 100}\n{log.new}")


def test_the_source_in_a_log_is_the_folders(tmp_path: Path) -> None:
    logs = three()
    path = folder(tmp_path, logs)
    with_source(path, logs, SCRIPT)
    assert "the source text in the logs and the folder's" in claims(path).headline
    with_source(path, logs, "# another comment\n" + SCRIPT.replace("\n    print", "\n\n    print"))
    assert "but for comments and layout" in claims(path).headline
    with_source(path, logs, SCRIPT.replace('"matrix_lr": 0.02', '"matrix_lr": 0.03'))
    found = claims(path)
    assert found.status == Status.INCONCLUSIVE
    assert "not the folder's (and in 2 more logs): line 6 has '\"matrix_lr\": 0.03," in questions(found)
    with_source(path, logs, SCRIPT[: len(SCRIPT) // 2] + "\n  cut off (")  # what cannot be parsed says nothing
    assert claims(path).status == Status.PASS


def test_the_source_in_a_log_of_a_packed_script(tmp_path: Path) -> None:
    logs = three(code=len(packed(LONG)))
    path = folder(tmp_path, logs, script=packed(LONG))
    with_source(path, logs, LONG)
    assert claims(path).status == Status.PASS
    with_source(path, logs, LONG.replace("0.02", "0.03"))
    assert "is not the folder's" in questions(claims(path))


def test_code_size_of_a_packed_script(tmp_path: Path) -> None:
    script = packed(LONG)
    assert claims(folder(tmp_path / "own", three(code=len(script)), script=script)).status == Status.PASS
    assert claims(folder(tmp_path / "inside", three(code=len(LONG)), script=script)).status == Status.PASS
    found = claims(folder(tmp_path, three(code=len(LONG) + 12_345), script=script))
    assert found.status == Status.INCONCLUSIVE and f"train_gpt.py has {len(script):,}, unpacked" in questions(found)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("print(f'quantized_ttt val_loss:{loss:.8f} val_bpb:{MINE} eval_time:{ms:.0f}ms')", Status.FAIL),
        ("print(f'quantized_ttt val_loss:{loss:.8f} val_bpb:{MINE:.8f} eval_time:{ms:.0f}ms')", Status.FAIL),
        ("print('quantized_ttt val_loss:%.8f val_bpb:%.8f eval_time:%dms' % (loss, MINE, ms))", Status.FAIL),
        ("print('quantized_ttt val_loss:{:.8f} val_bpb:NUMBER eval_time:{:.0f}ms'.format(loss, ms))", Status.FAIL),
        ("print(f'quantized_ttt val_loss:{loss:.8f} val_bpb:{bpb:.8f} eval_time:{ms:.0f}ms')", Status.PASS),
        ("print(f'quantized_ttt val_loss:{loss:.8f} val_bpb:{bpb:.8f} eval_time:{ms:.0f}ms', MINE)", Status.PASS),
    ],
)
def test_a_script_that_prints_its_own_number(tmp_path: Path, line: str, expected: Status) -> None:
    log = Log()
    number = f"{log.bpb:.8f}"
    script = SCRIPT.replace('    score("quantized_ttt", loss, bpb, ms)\n', f"    {line}\n".replace("NUMBER", number))
    script = script.replace('print(f"{label} val_loss', 'print(f"before val_loss').replace(
        "import torch\n", f"import torch\nMINE = {number}\n", 1
    )
    if "score(" not in line:
        script = script.replace('"before val_loss', '"pre-quantization post-ema val_loss')
    found = claims(folder(tmp_path, [replace(log, code=len(script))], script=script, claims={"val_bpb": float(number)}))
    assert found.status == expected, found.headline
    if expected == Status.FAIL:
        assert "as a constant" in found.headline


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("json.load(open('submission.json'))['val_bpb']", True),
        ("Path('train_seed42.log').read_text()", True),
        ("open('logs/train_seed42.log', 'r').read()", True),
        ("json.dump({}, open('submission.json', 'w'))", False),
        ("open('train_seed42.log', mode='a')", False),
        ("open('vocab.json').read()", False),
    ],
)
def test_a_script_that_reads_its_own_folder(tmp_path: Path, code: str, asked: bool) -> None:
    script = SCRIPT.replace("import torch\n", f"import torch, json\nfrom pathlib import Path\nkept = {code}\n", 1)
    found = claims(folder(tmp_path, three(code=len(script)), script=script))
    assert ("of its own folder" in questions(found)) == asked
    assert found.status == (Status.INCONCLUSIVE if asked else Status.PASS)


def test_a_seed_that_the_script_cannot_have(tmp_path: Path) -> None:
    fixed = SCRIPT.replace('"seed": int(os.environ.get("SEED", "42")),', "").replace("SETTINGS['seed']", "SEED")
    fixed = fixed.replace("import torch\n", "import torch\nSEED = 42\n", 1)
    assert "sets the seed to 42, and a log says 0" in questions(claims(folder(tmp_path, grammar="old", script=fixed)))
    assert "sets the seed" not in questions(claims(folder(tmp_path / "b", grammar="old")))


def test_quantization_that_changes_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for file in path.glob("*.log"):
        lines = file.read_text().splitlines()
        last = next(line for line in lines if line.startswith("quantized_ttt"))
        raw = next(line for line in lines if line.startswith("pre-quantization"))
        file.write_text(
            "\n".join(
                last.replace("quantized_ttt", "pre-quantization post-ema") if line == raw else line for line in lines
            )
        )
    assert "quantization changed nothing" in questions(claims(path))
    assert "changed nothing" not in questions(claims(folder(tmp_path / "b")))


def test_one_difference_in_every_seed(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for log in three():
        file = path / f"train_seed{log.seed}.log"
        raw = next(line for line in file.read_text().splitlines() if line.startswith("pre-quantization"))
        made = (
            f"pre-quantization post-ema val_loss:{log.loss:.8f} val_bpb:{round(log.bpb, 8) - 3e-5:.8f} eval_time:7000ms"
        )
        file.write_text(file.read_text().replace(raw, made))
    assert "is +3e-05 BPB from 'pre-quantization post-ema' in each of 3 runs" in questions(claims(path))


def averages(values: list[float]) -> str:
    return "".join(f"  sliding_eval [{100 * n / 60:5.1f}%] {n * 100}/6000 windows running_bpb={value:.6f}\n"
                   for n, value in enumerate(values, 5))  # fmt: skip


@pytest.mark.parametrize("jitter", [0.0, 0.004, 0.4])
def test_a_running_average_that_jumps(tmp_path: Path, jitter: float) -> None:
    script = SCRIPT + 'print(f"  sliding_eval [{p:5.1f}%] {n}/{m} windows running_bpb={b:.6f}")\n'
    path = folder(tmp_path, three(code=len(script)), script=script)
    file = path / "train_seed42.log"
    smooth = [1.08 + 0.01 / n + (jitter if n == 40 else 0.0) for n in range(5, 60)]
    file.write_text(averages(smooth) + file.read_text())
    found = claims(path)
    assert ("a running average goes from" in questions(found)) == (jitter > 0.1)


def test_a_folder_without_a_script_is_not_judged_by_one(tmp_path: Path) -> None:
    found = claims(folder(tmp_path, script=""))
    assert "can print" not in questions(found)
    assert json.loads(found.model_dump_json())["status"] != "FAIL"
