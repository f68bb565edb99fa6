"""Each check on hand-made runs: an offender that it must catch, and a clean neighbour that it must leave alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import rules
from harness.audit.check import Provider
from harness.record import Finding, Status, Witness
from harness.scripts import flips as flipping
from harness.scripts.checks import judging
from harness.scripts.checks.evidence import Flip, ScriptEvidence, ScriptNull, Turned
from harness.scripts.checks.explaining import explain, quote, with_quotes
from harness.scripts.trace import observed
from harness.scripts.trace.decided import Decision
from harness.verdict import decide
from tests.scripts.handmade import World

WORLD = World()
N = WORLD.tokens


def evidence(*, world: World = WORLD, flips: bool = True, before: Any = None, **how: Any) -> ScriptEvidence:
    """An audit of a world: `how` goes to every run; `before` is a leak that only whole runs show."""
    whole = {**how, "leak": before} if before is not None else how
    if before is not None:  # what was made before the pass stays as it is when a fork changes tokens
        how = {**how, "leak": lambda ids: before(np.arange(N))}
    base = world.play(**whole)
    made = ScriptEvidence(
        ruleset=rules.load(), documents=world.documents, base=base, vocab_size=2 * N, sandbox="native", confined=True
    )
    made.token_bytes = np.full(world.tokens, 3, np.int64)
    if not flips:
        return made
    made.again = world.play(**whole)
    chosen = flipping.plan(base, world.documents, suffixes=3, swaps=2)
    made.flips = [Flip(variant, "pass", world.play(variant.mask(world.tokens), **how), edited=3) for variant in chosen]
    suffix = next(v for v in chosen if v.kind == "suffix")
    made.flips.append(Flip(suffix, "run", world.play(suffix.mask(world.tokens), **whole)))
    return made


def of(found: list[Finding], check: str) -> Finding:
    return next(item for item in found if item.id == check)


def batch_mean(ids: np.ndarray) -> np.ndarray:
    """SLOT with a delta that a batch shares: the mean over the batch's own targets enters its rows."""
    out = np.zeros(N)
    for start in range(1, N, WORLD.batch):
        out[start : start + WORLD.batch] = 0.1 * np.sin(ids[start : start + WORLD.batch].sum() * 0.01)
    return out


def own_token(ids: np.ndarray) -> np.ndarray:
    """A gate on the target itself."""
    return 0.05 * (ids >= N)


def everything(ids: np.ndarray) -> np.ndarray:
    """An artifact that was trained on the whole text."""
    return np.full(N, 0.01 * np.sin(float(ids.sum())))


def test_a_clean_run_passes_everything():
    found = judging.judge(evidence())
    quiet = (Status.PASS, Status.NOT_RUN, Status.INCONCLUSIVE, Status.NOT_APPLICABLE)
    assert not [item for item in found if item.status not in quiet]
    for check in ("determinism", "causality", "normalization", "score-before-update", "single-pass"):
        assert of(found, check).status == Status.PASS, of(found, check).headline
    assert of(found, "artifact-independence").status == Status.PASS
    assert of(found, "causality").value("probes_with_control") == 6
    assert of(found, "causality").not_covered


@pytest.mark.parametrize("leak", [batch_mean, own_token])
def test_causality_catches_a_leak_and_quotes_it(leak):
    found = of(judging.judge(evidence(leak=leak)), "causality")
    assert found.status == Status.FAIL
    assert found.witness is not None and found.witness.data["scope"] == "pass"
    assert found.witness.data["affected"] or found.witness.data["own_row"]
    assert found.figures["flips"]["probes"]


def test_a_pass_that_leaks_by_itself_leaves_its_start_undecided():
    found = judging.judge(evidence(leak=batch_mean))
    assert of(found, "artifact-independence").status == Status.INCONCLUSIVE


def test_a_row_that_depends_on_its_own_token_only_is_seen():
    made = of(judging.judge(evidence(leak=own_token)), "causality")
    assert made.value("own_rows_moved")
    assert made.value("rows_moved") == 0


def test_documents_out_of_order_are_judged_in_their_own_order():
    order = [*range(191, N), *range(1, 100), *range(101, 190)]
    found = judging.judge(evidence(order=order))
    assert of(found, "causality").status == Status.PASS
    single = of(found, "single-pass")
    assert single.status == Status.UNRULED
    assert "not scored from left to right" in single.headline and "start the" in single.headline


def test_a_leak_is_seen_out_of_order_too():
    order = np.concatenate([np.arange(193, N), np.arange(1, 193)])
    assert of(judging.judge(evidence(order=order, leak=batch_mean)), "causality").status == Status.FAIL


def test_training_early_is_a_failure_only_where_flips_show_it():
    leaking = of(judging.judge(evidence(train="early", leak=batch_mean)), "score-before-update")
    assert leaking.status == Status.FAIL
    assert leaking.witness is not None and leaking.witness.data["training"]["place"].startswith("train_gpt.py:70")
    harmless = of(judging.judge(evidence(train="early")), "score-before-update")
    assert harmless.status == Status.UNRULED
    blind = of(judging.judge(evidence(train="early", flips=False)), "score-before-update")
    assert blind.status == Status.INCONCLUSIVE
    late = of(judging.judge(evidence(train="late")), "score-before-update")
    assert late.status == Status.PASS and "Track B" in late.headline


def test_pre_quantization_training_is_caught_by_the_whole_run():
    found = judging.judge(evidence(train="before", before=everything))
    independence = of(found, "artifact-independence")
    assert independence.status == Status.FAIL
    assert independence.witness is not None and "adapt_all" in independence.witness.data["training"]["place"]
    assert of(found, "causality").status == Status.PASS  # the pass itself is clean
    assert not [item for item in found if item.id == "warm-up"]


def test_a_warm_up_whose_state_is_thrown_away_is_named_and_no_failure():
    found = judging.judge(evidence(train="before"))
    assert of(found, "artifact-independence").status == Status.PASS
    assert of(found, "warm-up").status == Status.UNRULED


def test_tokens_that_are_used_before_the_pass_without_training_break_causality():
    found = judging.judge(evidence(before=everything))
    assert of(found, "causality").status == Status.FAIL
    assert of(found, "causality").witness.data["scope"] == "run"
    assert of(found, "artifact-independence").status == Status.INCONCLUSIVE


def test_noise_is_no_leak():
    made = evidence()
    made.again = WORLD.play(noise=0.02)
    found = judging.judge(made)
    assert of(found, "determinism").status == Status.INCONCLUSIVE
    assert of(found, "causality").status == Status.INCONCLUSIVE


def test_a_fork_in_which_nothing_was_edited_is_no_probe():
    made = evidence()
    made.flips = [Flip(flip.variant, flip.scope, flip.trace, edited=0) for flip in made.flips]
    assert of(judging.judge(made), "causality").status == Status.INCONCLUSIVE


def test_a_loss_that_is_not_the_printed_one_decides_nothing():
    made = evidence(say="final val_loss:1.23456789 val_bpb:0.6")
    found = judging.judge(made)
    for check in ("causality", "normalization", "artifact-independence"):
        assert of(found, check).status == Status.INCONCLUSIVE
        assert "1.23457" in of(found, check).headline
    # but a leak in what was seen stays a leak
    assert of(
        judging.judge(evidence(say="final val_loss:1.2345 val_bpb:0.6", leak=batch_mean)), "causality"
    ).status == (Status.FAIL)


def test_a_script_that_broke_decides_nothing_and_says_why():
    world = World()
    made = evidence(world=world, flips=False)
    made.base = type(made.base)(
        N, (), None, (), (), None, 0, ({"name": "aten::topk", "count": 3, "place": "train_gpt.py:7 f"},),
        {"ended": "error", "error": "Traceback\nRuntimeError: no such operator cutlass::gemm"},
    )  # fmt: skip
    found = judging.judge(made)
    assert of(found, "causality").status == Status.INCONCLUSIVE
    assert "cutlass::gemm" in of(found, "causality").headline
    assert not [item for item in found if item.status in (Status.PASS, Status.FAIL, Status.ERROR)]


def turned(made: ScriptEvidence, made_of: list[int], moved: list[int], by: float, **decision: Any) -> Turned:
    """A decision made of some losses; turned, it changes some charges by so many nats."""
    main = made.base.main
    assert main is not None and made.base.headline is not None
    change = np.where(np.isin(main.position, moved), by, 0.0)
    passes = list(made.base.passes)
    passes[made.base.headline] = dataclasses.replace(main, charged=main.charged + change, nll=main.nll + change)
    at: dict[str, Any] = {"name": "lt", "rivals": True, "varied": True, **decision}
    asked = Decision(place="train_gpt.py:70 best", call=3, element=5, seq=1, positions=np.array(made_of), **at)
    return Turned(asked, dataclasses.replace(made.base, passes=tuple(passes)))


def test_a_charge_that_its_own_loss_chose_is_no_distribution_and_one_that_earlier_losses_chose_is() -> None:
    def judged(*how: Any, paid: float = 0.0, **decision: Any) -> Finding:
        made = evidence(flips=False, charged=lambda nll: nll + paid)
        return of(judging.judge(dataclasses.replace(made, turned=[turned(made, *how, **decision)])), "normalization")

    for made_of, moved in (([40], [40]), (list(range(32, 64)), list(range(32, 64))), ([41], [40])):
        caught = judged(made_of, moved, 0.5)
        assert caught.status == Status.FAIL and caught.witness is not None, caught.headline
        assert caught.witness.kind == "choice" and "train_gpt.py:70 best" in caught.witness.summary
        assert caught.value("charges_chosen") == len(moved)
    assert judged([40], [41, 42], 0.5).status == Status.PASS  # by what came before
    assert judged([40], [], 0.5).status == Status.PASS  # it decided nothing
    assert judged([40], [40], -0.5, name="maximum").status == Status.PASS  # the worse of two
    for unclear in (judged([40], [40], -0.5), judged([40], [40], 0.5, paid=math.log(2)),
                    judged([40], [40], 0.5, rivals=False, varied=False)):  # fmt: skip
        assert unclear.status == Status.INCONCLUSIVE and "train_gpt.py:70 best" in unclear.headline


def test_decisions_that_nobody_tried_or_that_cannot_be_compared_leave_it_open() -> None:
    made = evidence(flips=False)
    assert made.main is not None
    row = {"name": "lt", "place": "train_gpt.py:70 best", "call": 0, "element": 0, "seq": 1, "positions": [[40, 41]],
           "rivals": 1, "varied": 1}  # fmt: skip

    def judged(facts: Any, *made_runs: Turned) -> Finding:
        base = dataclasses.replace(made.base, facts={**made.base.facts, "decisions": facts})
        return of(judging.judge(dataclasses.replace(made, base=base, turned=made_runs)), "normalization")

    assert judged([]).status == Status.PASS
    assert judged([row]).status == Status.INCONCLUSIVE
    assert judged([{**row, "positions": [[1, N]]}]).status == Status.PASS  # among whole evaluations: another matter
    assert judged([{**row, "seq": made.main.seq + 1}]).status == Status.PASS  # after all was charged
    lost = dataclasses.replace(turned(made, [40], [40], 0.5), error="error: AssertionError")
    assert "AssertionError" in judged([row], lost).headline


def test_a_row_that_lets_its_own_token_in_is_a_leak_and_an_impossible_token_is_none() -> None:
    def own(base: float, flipped: float) -> Finding:
        made = evidence()
        flip = next(item for item in made.flips if item.variant.kind == "suffix" and item.scope == "pass")
        main, trace = made.base.main, flip.trace
        assert main is not None and trace is not None and trace.main is not None
        at = main.position == flip.variant.position

        def at_cut(read: Any, **values: float) -> Any:
            passes = list(read.passes)
            old = {name: getattr(read.main, name) for name in values}
            new = {name: np.where(at, value, old[name]) for name, value in values.items()}
            passes[read.headline] = dataclasses.replace(read.main, **new)
            return dataclasses.replace(read, passes=tuple(passes))

        flips = [dataclasses.replace(flip, trace=at_cut(trace, nll=flipped, charged=flipped))]
        base_trace = at_cut(made.base, alternative=base)
        return of(judging.judge(dataclasses.replace(made, base=base_trace, flips=flips)), "causality")

    for pair in ((math.inf, 9.0), (9.0, math.inf)):
        leak = own(*pair)
        assert leak.status == Status.FAIL and leak.witness is not None
        assert "impossible" in leak.witness.summary and None in leak.witness.data["own_row"].values()
    assert own(math.inf, math.inf).status == Status.PASS


def test_normalization():
    over = of(judging.judge(evidence(lse=0.7)), "normalization")
    assert over.status == Status.FAIL
    assert over.witness is not None and over.witness.data["sum"] == pytest.approx(math.exp(0.7))
    assert of(judging.judge(evidence(lse=9.0, kind="gather logit")), "normalization").status == Status.PASS
    mixed = of(judging.judge(evidence(charged=lambda nll: np.minimum(nll, 8.0))), "normalization")
    assert mixed.status == Status.INCONCLUSIVE
    assert mixed.value("charges_that_differ")
    unseen = of(judging.judge(evidence(lse=float("nan"))), "normalization")
    assert unseen.status == Status.INCONCLUSIVE


def test_single_pass_names_layouts():
    def layout(order: list[int]) -> Finding:
        return of(judging.judge(evidence(order=order)), "single-pass")

    assert layout(list(range(1, N))).value("layout") == "C: exact cover"
    tail = layout([*range(1, N), *range(241, N)])
    assert (tail.status, tail.value("layout")) == (Status.PASS, "A: the tail is scored again")
    assert "scored again" in tail.headline and tail.value("worth_scored_again") is not None
    assert layout(list(range(20, N))).value("layout") == "E: the first targets are never scored"
    short = layout(list(range(1, 250)))
    assert (short.status, short.value("layout")) == (Status.PASS, "D: the tail is never scored")
    gap = layout([p for p in range(1, N) if not 20 <= p < 50])
    assert (gap.status, gap.value("layout")) == (Status.PASS, "F: a gap after the first window is never scored")
    middle = layout([p for p in range(1, N) if not 120 <= p < 150])
    assert (middle.status, middle.value("layout")) == (Status.FAIL, "other")
    holes = layout([p for p in range(1, N) if p % 3])
    assert holes.status == Status.FAIL and holes.witness is not None


def test_each_rank_may_score_everything_once_and_one_rank_nothing_twice():
    def by(ranks: int) -> Finding:
        made = evidence(order=[*range(1, N), *range(1, N)], flips=False)
        assert made.main is not None
        made.ranks = 2
        main = made.main
        half = np.arange(len(main.position)) >= N - 1
        main.event_seq[:] = main.event_seq % (1 << 20) + np.where(half & (ranks > 1), observed.floor(0, 1), 0)
        return of(judging.judge(made), "single-pass")

    both, one = by(2), by(1)
    assert both.value("scored_again") == 0 and "scored again" not in both.headline
    assert one.value("scored_again") == N - 1 and one.status == Status.FAIL


def test_null_stream():
    made = evidence()
    made.nulls = [ScriptNull("a test source", 1000, 8000.0, 8400.0, "printed", 0)]
    assert of(judging.judge(made), "null-stream").status == Status.PASS
    made.nulls = [*made.nulls, ScriptNull("another", 1000, 8000.0, 7970.0, "printed", 0)]
    found = of(judging.judge(made), "null-stream")
    assert found.status == Status.FAIL
    assert found.witness is not None and found.witness.data["source"] == "another"


def test_byte_accounting():
    made = evidence()
    assert made.main is not None and made.main.printed is not None and made.main.printed.bpb is not None
    true = made.main.mean / math.log(2) / made.main.printed.bpb
    made.token_bytes = np.full(N, true)
    assert of(judging.judge(made), "byte-accounting").status == Status.PASS
    made.token_bytes = np.full(N, 1.3 * true)
    assert of(judging.judge(made), "byte-accounting").status == Status.INCONCLUSIVE


def test_a_score_that_is_not_made_of_the_loss_beside_it_decides_nothing():
    """A byte mixture is printed beside the model's own loss: the losses were followed, the score was not."""
    made = evidence()
    made.token_bytes = np.full(N, 4, np.int64)
    found = judging.judge(made)
    for check in ("causality", "normalization", "score-before-update", "artifact-independence"):
        assert of(found, check).status == Status.INCONCLUSIVE
        assert "not that of the loss beside it" in of(found, check).headline
    made.miscounts = {"a mistake that is known": np.full(N, 3, np.int64)}
    assert of(judging.judge(made), "causality").status == Status.PASS


def test_without_the_line_that_the_claim_rests_on_nothing_is_decided():
    made = evidence(say="final_plain val_loss:{loss:.8f} val_bpb:{bpb:.8f}")
    made.base = dataclasses.replace(made.base, claimed=("final adapted",))
    found = judging.judge(made)
    for check in ("causality", "normalization", "score-before-update", "single-pass", "artifact-independence"):
        assert of(found, check).status == Status.INCONCLUSIVE and "final adapted" in of(found, check).headline


def test_an_evaluation_that_the_logs_do_not_claim_is_not_accused_of_anything():
    made = evidence(flips=True, leak=batch_mean)
    assert of(judging.judge(made), "causality").status == Status.FAIL
    made.confined = False
    isolation = of(judging.judge(made), "isolation").status
    made.base = dataclasses.replace(made.base, claimed=("final adapted",))
    found = of(judging.judge(made), "causality")
    assert found.status == Status.INCONCLUSIVE and found.witness is None
    assert "final adapted" in found.headline and "replaced" in str(found.value("seen"))
    assert of(judging.judge(made), "isolation").status == isolation
    assert all(item.status != Status.FAIL for item in judging.judge(made) if item.id != "isolation")


def test_a_run_that_changes_nothing_that_was_trained_on_says_nothing_of_it():
    made = evidence(train="before")
    last = flipping.later(made.base.main, N - 1, N, WORLD.documents)
    early = made.base.ledger(made.base.main).before.copy()
    made.flips = [flip for flip in made.flips if flip.scope == "pass"]
    trained = [dataclasses.replace(item, position=item.position[item.position < N - 1]) for item in made.base.trainings]
    made.base = dataclasses.replace(made.base, trainings=tuple(trained))
    made.flips.append(Flip(last, "run", WORLD.play(last.mask(N), train="before")))
    assert early.any() and of(judging.judge(made), "artifact-independence").status == Status.INCONCLUSIVE


def test_the_strict_ruleset_turns_unruled_into_a_failure_with_a_witness():
    made = evidence(order=[*range(1, N), *range(241, N)])
    made.ruleset = rules.load("strict")
    found = of(judging.judge(made), "single-pass")
    assert found.status == Status.FAIL and found.witness is not None


def test_a_broken_check_is_an_error_and_the_others_go_on(monkeypatch):
    def broken(evidence: ScriptEvidence) -> Finding:
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(judging.CHECKS, "causality", Provider(broken))
    found = judging.judge(evidence())
    assert of(found, "causality").status == Status.ERROR
    assert of(found, "single-pass").status == Status.PASS


def test_what_run_and_papers_both_judge_is_one_finding_of_two_parts():
    found = judging.judge(evidence())
    run = of(found, "isolation")
    quiet = run.model_copy(update={"status": Status.INCONCLUSIVE, "question": "claim", "headline": "no log says so"})
    claims = of(found, "causality").model_copy(update={"id": "claims"})
    merged = judging.merge(found, [quiet, claims])
    assert [item.id for item in merged] == [*(item.id for item in found), "claims"]
    both = of(merged, "isolation")
    assert (both.status, both.question) == (run.status, run.question)
    assert [(part.source, part.status, part.question) for part in both.parts] == [
        ("the run", run.status, "score"), ("the papers", Status.INCONCLUSIVE, "claim"),
    ]  # fmt: skip
    assert run.headline in both.headline and "in the papers, no log says so" in both.headline
    answers = decide(merged, "script").answers
    assert (answers.score.answer, answers.claim.answer) == (decide(found, "script").answers.score.answer, "INCOMPLETE")


def test_papers_that_contradict_themselves_are_held_against_a_clean_run():
    run = of(judging.judge(evidence()), "isolation")
    wrong = run.model_copy(update={"status": Status.FAIL, "witness": Witness(kind="evidence", summary="two bytes")})
    both = judging.joined(run, wrong)
    assert (both.status, both.witness) == (Status.FAIL, wrong.witness)
    assert both.headline.startswith("in the papers, ")
    assert judging.joined(wrong, run).headline.startswith("in the run, ")


def test_quotes_show_the_line_and_its_callers():
    source = "\n".join(f"line {number}" for number in range(1, 101))
    frames = quote("train_gpt.py:70 adapt < main:90 < <module>:100", {"train_gpt.py": source})
    assert [(frame.function, frame.line) for frame in frames] == [("adapt", 70), ("main", 90), ("<module>", 100)]
    assert frames[0].lines == ((69, "line 69"), (70, "line 70"), (71, "line 71"))
    assert quote("outside the script", {}) == []
    found = of(judging.judge(evidence(train="early", leak=batch_mean)), "score-before-update")
    told = explain(found, {"train_gpt.py": source})
    assert any("> " in line and "line 70" in line for line in told)
    assert explain(of(judging.judge(evidence()), "causality"), {}) == []
    quoted = with_quotes(found, {"train_gpt.py": source})
    assert quoted.witness is not None and ["train_gpt.py:70", "line 70"] in quoted.witness.data["source"]
    assert with_quotes(found, {}) == found


@settings(max_examples=25, deadline=None)
@given(st.integers(1, N - 2), st.permutations(range(3)), st.floats(1e-3, 1.0))
def test_whatever_the_order_only_leaks_are_leaks(position, blocks, size):
    """A row that takes something from a later position of any order is caught, and an honest one never is."""
    edges = [(1, 100), (101, 190), (191, N)]
    order = np.concatenate([np.arange(*edges[block]) for block in blocks])
    if position in WORLD.documents:
        return
    rank = {int(p): index for index, p in enumerate(order)}
    base = WORLD.play(order=order)
    assert base.main is not None
    variant = flipping.later(base.main, position, N, WORLD.documents)
    assert all(rank.get(int(p), N) >= rank[position] for p in variant.replaced)

    def leak(ids: np.ndarray) -> np.ndarray:
        out = np.zeros(N)
        out[order[0]] = size * (ids[position] >= N)
        return out

    for how, status in (({}, Status.PASS), ({"leak": leak}, Status.FAIL)):
        made = evidence(flips=False, order=order, **how)
        made.flips = [Flip(variant, "pass", WORLD.play(variant.mask(N), order=order, **how), edited=1)]
        found = of(judging.judge(made), "causality")
        control = found.value("probes_with_control")
        if status == Status.FAIL and rank[position] == 0:
            continue  # its own row: the counterfactual's business
        assert found.status == status or (status == Status.PASS and not control), found.headline


def test_plans_point_into_batches_and_at_early_training():
    base = WORLD.play(train="early")
    plan = flipping.plan(base, WORLD.documents, suffixes=3, swaps=2)
    assert [item.kind for item in plan] == ["suffix"] * 3 + ["swap"] * 2
    assert any(item.why.startswith("trained") for item in plan)
    assert not any(np.isin(WORLD.documents, item.replaced).any() for item in plan)
    again = flipping.plan(base, WORLD.documents, suffixes=3, swaps=2)
    assert [(item.kind, item.position) for item in again] == [(item.kind, item.position) for item in plan]


def test_what_did_not_run_names_its_cause():
    """Not asked for, or ended by its memory or time; a clean neighbour's second run is compared."""
    found = judging.judge(evidence(flips=False))
    for check in ("determinism", "causality"):
        assert (of(found, check).status, of(found, check).headline) == (
            Status.NOT_RUN,
            "a second run was not asked for",
        )
    made = evidence()
    killed = dataclasses.replace(
        made.again, passes=(), headline=None, facts={"ended": "killed", "error": "used more than 2.0 GB of memory"}
    )
    ended = dataclasses.replace(made, again=killed, flips=[])
    found = judging.judge(ended, ["determinism"])
    assert of(found, "determinism").status == Status.INCONCLUSIVE
    assert of(found, "determinism").headline == (
        "the second run did not come to its end: used more than 2.0 GB of memory"
    )
    assert of(judging.judge(made), "determinism").status == Status.PASS


CUT = "it used more than 300 CPU seconds (--timeout raises this limit)"


def cut(made: ScriptEvidence, keep: int) -> ScriptEvidence:
    """The same audit, but all flips after so many of the pass, and the second run, were cut."""
    again = dataclasses.replace(made.again, passes=(), headline=None, facts={"ended": "killed", "error": CUT})
    flips, left = [], keep
    for flip in made.flips:
        if flip.scope == "pass" and left:
            flips.append(flip)
            left -= 1
        elif flip.scope == "pass":
            flips.append(dataclasses.replace(flip, trace=None, edited=None, error=CUT))
        else:
            flips.append(dataclasses.replace(flip, trace=again, error=CUT))
    return dataclasses.replace(made, again=again, flips=flips)


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_what_was_planned_and_not_made_is_no_pass_with_fewer(keep):
    found = judging.judge(cut(evidence(), keep))
    for check in ("causality", "determinism", "artifact-independence"):
        assert of(found, check).status == Status.INCONCLUSIVE and CUT in of(found, check).headline, check
    made = of(found, "causality")
    planned = made.value("probes_planned")
    assert made.value("probes_made") == keep
    if keep:
        assert f"{planned - keep} of {planned} planned tests with other text were not made" in made.headline
    for check in ("causality", "determinism", "artifact-independence"):
        assert of(judging.judge(evidence()), check).status == Status.PASS


def test_a_flip_that_was_cut_leaves_early_training_open():
    """One more flip was to replace a token that was trained on early: whether it would have shown is open."""
    made = evidence(train="early")
    ruled = of(judging.judge(made), "score-before-update")
    assert ruled.status not in (Status.FAIL, Status.INCONCLUSIVE)
    found = of(judging.judge(cut(made, 1)), "score-before-update")
    assert found.status == Status.INCONCLUSIVE and CUT in found.headline


def test_a_leak_that_was_seen_stays_a_leak_where_other_tests_were_cut():
    whole = of(judging.judge(evidence(leak=batch_mean)), "causality")
    found = of(judging.judge(cut(evidence(leak=batch_mean), 4)), "causality")
    assert found.status == whole.status == Status.FAIL and found.witness is not None


@pytest.mark.parametrize("check, name", [("causality", "recurring"), ("causality", "substituted-1"),
                                         ("normalization", "recurring"), ("null-stream", "null")])  # fmt: skip
def test_a_run_on_other_text_that_was_cut_leaves_its_checks_open(check, name):
    made = evidence()
    made.nulls = [ScriptNull("uniform", N, 1000.0, 1010.0, "printed", 1)]
    assert of(judging.judge(made), check).status == Status.PASS
    made.unmade = {name: CUT}
    found = judging.judge(made)
    assert of(found, check).status == Status.INCONCLUSIVE and CUT in of(found, check).headline
    assert {item.status for item in found if item.id in ("determinism", "single-pass")} == {Status.PASS}
