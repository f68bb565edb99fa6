"""Whole scripts in a box: they run to their end, twice the same, and forks of them see other tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.sandbox.box import Limits
from harness.scripts.play import streams
from harness.scripts.play.running import ForkPoint, Playable, Played, edit, play
from tests.scripts.played import short, whole

DATA = streams.make(8192, 3073)
START, ONE = 1400, 2100
SAME = edit(DATA, [], "same")


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The leaky script, forked in its first pass: every variant sees the rest of it and the second pass."""
    log = tmp_path_factory.mktemp("forked") / "log"
    points = [
        ForkPoint(1, [SAME, edit(DATA, range(START, 3073), "suffix"), edit(DATA, [ONE], "single")]),
        ForkPoint(2, [edit(DATA, [], "short")], until=4),
        ForkPoint(999, [edit(DATA, [], "never")]),
    ]
    return play(whole(leaky=True), DATA, forks=points, log=log)


def moved(played: Played, name: str, events: slice) -> np.ndarray:
    """Positions whose NLL differs between the fork and the run that it left, among the given events."""
    base = played.observed
    seen = next(fork.observed for fork in played.forked if fork.name.startswith(name))
    assert seen is not None and len(seen.atom_nll) == len(base.atom_nll)
    among = np.isin(base.atom_event, np.arange(len(base.event_seq))[events])
    return np.unique(base.atom_position[among & (base.atom_nll != seen.atom_nll)])


@pytest.mark.slow
def test_a_whole_script_runs_under_its_stand_ins(forked: Played) -> None:
    facts = forked.observed.facts
    assert (facts["ended"], facts["error"], facts["missing"]) == ("ok", "", [])
    used = facts["standins"]
    for name in ("flash_attn_func", "torch.compile", "nvidia-smi", "autocast", "inference_mode", "thread pool",
                 "DistributedDataParallel", "dist.all_reduce", "device cuda"):  # fmt: skip
        assert used.get(name), name
    opened = {item["name"] for item in facts["files"]}
    assert "data/datasets/fineweb10B_sp8192/fineweb_val_000000.bin" in opened
    assert any(line.startswith("final val_loss:") for line in forked.observed.printed)


@pytest.mark.slow
def test_every_position_is_seen_in_both_passes(forked: Played) -> None:
    observed = forked.observed
    half = len(observed.event_seq) // 2
    for events in (observed.atom_event < half, observed.atom_event >= half):
        assert sorted(observed.atom_position[events]) == list(range(1, 3073))


@pytest.mark.slow
def test_forks_change_the_future_and_nothing_else(forked: Played) -> None:
    half = len(forked.observed.event_seq) // 2
    assert not moved(forked, "same", slice(None)).size  # the noise floor is zero
    causal = moved(forked, "suffix", slice(2, half))
    assert causal.size and causal.min() == START
    causal = moved(forked, "single", slice(2, half))
    assert causal.size and causal.min() == ONE
    leak = moved(forked, "suffix", slice(half, None))
    window = (START - 1) // 128 * 128  # the second pass looks ahead within a window
    assert leak.min() == window + 1 < START
    for fork in forked.forked[:3]:
        assert not fork.problem
        if fork.name != "same":
            assert fork.observed is not None and fork.observed.facts["edited"]["tokens"] > 0


@pytest.mark.slow
def test_forks_end_where_they_are_told_to_and_say_when_they_never_were(forked: Played) -> None:
    short, never = forked.forked[3:]
    assert short.observed is not None and short.observed.facts["ended"] == "stopped"
    assert len(short.observed.event_seq) == 4
    assert never.observed is None
    assert never.problem == f"the run ended before event 999; it had {len(forked.observed.event_seq)}"


@pytest.mark.slow
def test_another_run_is_bit_identical(forked: Played, tmp_path: Path) -> None:
    again = play(whole(leaky=True), DATA, log=tmp_path / "log").observed
    for name in ("atom_position", "atom_nll", "atom_event", "report_value", "training_position", "step_what"):
        assert np.array_equal(getattr(again, name), getattr(forked.observed, name), equal_nan=True), name
    assert again.printed == forked.observed.printed  # times, random names and all


@pytest.mark.slow
def test_positions_of_repeating_tokens_come_from_a_run_on_unique_ones(forked: Played, tmp_path: Path) -> None:
    drawn = streams.null(DATA)
    data = streams.with_validation(DATA, drawn.tokens)
    null = play(whole(leaky=True), data, replay=forked.locations, log=tmp_path / "log").observed
    assert np.array_equal(null.atom_position, forked.observed.atom_position)
    assert null.atom_nll[null.atom_event < len(null.event_seq) // 2].mean() > drawn.entropy


def run(script: Playable, log: Path, **more: object) -> Played:
    return play(script, DATA, log=log, record=False, **more)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "ended", "error"),
    [
        ("sys.exit(3)", "exit 3", "3"),
        ("def f():\n    raise ValueError('too few heads')\nf()", "error", "ValueError: too few heads"),
        (
            "import triton\n@triton.jit\ndef my_kernel(x):\n    pass\ndef launch():\n    my_kernel[(1,)](1)\nlaunch()",
            "no stand-in",
            "no stand-in for Triton kernel my_kernel: nobody has written down what it computes (train_gpt.py:7 launch)",
        ),
        ("import torch\ntorch.cuda.CUDAGraph()", "no stand-in", "torch.cuda.CUDAGraph"),
        ("import no_such_package", "no stand-in", "No module named 'no_such_package'"),
    ],
)
def test_a_failure_is_told_not_suffered(body: str, ended: str, error: str, tmp_path: Path) -> None:
    facts = run(short(body), tmp_path / "log").observed.facts
    assert facts["ended"] == ended
    assert error in facts["error"]
    assert "golf-box" not in facts["error"]  # no paths of this machine
    assert bool(facts["missing"]) == (ended == "no stand-in")


@pytest.mark.slow
def test_stages_share_a_folder_and_side_files_come_along(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text("WORD = 'helped'\n")
    body = (
        "from lib.helper import WORD\n"
        "if os.environ.get('TTT_EVAL_ONLY') == '1':\n"
        "    assert open('kept').read() == WORD and sys.argv[1:] == ['--x'] and 'FIRST' not in os.environ\n"
        "    sys.exit(7)\n"
        "open('kept', 'w').write(WORD)"
    )
    stages = ({"FIRST": "1"}, {"TTT_EVAL_ONLY": "1"})
    script = short(body, folder=tmp_path, side=("lib/helper.py",), stages=stages, argv=("--x",))
    facts = run(script, tmp_path / "log").observed.facts
    assert (facts["ended"], facts["stage"]) == ("exit 7", 1), facts["error"]
    assert [stage["ended"] for stage in facts["stages"]] == ["ok", "exit 7"]


@pytest.mark.slow
def test_a_box_that_must_be_ended_says_so(tmp_path: Path) -> None:
    limits = Limits(memory_bytes=700 << 20, processes=8, cpu_seconds=120.0)
    played = run(
        short("hog = []\nwhile True:\n    hog.append(bytearray(b'x' * (64 << 20)))"), tmp_path / "log", limits=limits
    )
    assert played.observed.facts["ended"] in ("killed", "error")  # the watchdog, or the kernel's own limit
    assert "memory" in played.observed.facts["error"].lower()


@pytest.mark.slow
def test_what_is_not_there_is_an_import_error_as_ever(tmp_path: Path) -> None:
    body = (
        "try:\n    import bitsandbytes\nexcept ImportError:\n    pass\n"
        "import python_minifier, subprocess, time, datetime\n"
        "assert python_minifier.minify('x = 1') == 'x = 1'\n"
        "open('/tmp/a', 'w').write('words')\n"
        "assert os.path.exists('/tmp/a') and os.path.getsize('/tmp/a') == 5\n"
        "os.replace('/tmp/a', 'a'); subprocess.run(['lrzip', '-z', '-o', 'b', 'a'], check=True)\n"
        "assert open('b').read() == 'words'\n"
        "a = time.time(); time.sleep(3600); assert 3600 < time.time() - a < 3601\n"
        "assert datetime.datetime.now().year > 2000"
    )
    facts = run(short(body), tmp_path / "log").observed.facts
    assert facts["ended"] == "ok", facts["error"]
    assert [item["name"] for item in facts["missing"]] == ["package bitsandbytes"]


@pytest.mark.slow
def test_packages_that_the_harness_needs_itself_are_the_real_ones_in_a_box(tmp_path: Path) -> None:
    body = (
        "import brotli, lzma, numpy, scipy, sentencepiece, zlib, zstandard\n"
        "text = b'the same words again and again ' * 99\n"
        "for one in (brotli.compress(text), zstandard.ZstdCompressor(level=22).compress(text)):\n"
        "    for other in (zlib, lzma):\n"
        "        try:\n"
        "            other.decompress(one)\n"
        "        except (zlib.error, lzma.LZMAError):\n"
        "            continue\n"
        "        raise AssertionError('packed by a stand-in')\n"
        "assert zstandard.ZstdDecompressor().decompress(zstandard.compress(text)) == text\n"
        "assert brotli.decompress(brotli.compress(text)) == text"
    )
    facts = run(short(body), tmp_path / "log").observed.facts
    assert facts["ended"] == "ok", facts["error"]
    assert facts["missing"] == [] and not {"brotli", "zstandard"} & set(facts["standins"])


def test_usage_is_checked_before_anything_runs(tmp_path: Path) -> None:
    many = [ForkPoint(0, [SAME] * 65)]
    with pytest.raises(UsageError, match="at most 64"):
        play(short("pass"), DATA, forks=many, log=tmp_path / "log")
    with pytest.raises(UsageError, match="side file"):
        play(short("pass", folder=tmp_path, side=("gone.py",)), DATA, log=tmp_path / "log")
    with pytest.raises(UsageError, match="inside"):
        play(short("pass", folder=tmp_path, side=("../x.py",)), DATA, log=tmp_path / "log")
