"""Lines that a witness names, with what stands there: as papers quote them, and as a script's recorder writes them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.record import Witness
from harness.report import markdown, sarif
from harness.report.places import places
from tests.report.records import causality, record

SOURCE = [["t.py:812", "loss = model(x, y)"], ["t.py:1207", "eval_val(args)"]]


def found(data: dict[str, Any]) -> list[tuple[str, int, str]]:
    return places(causality().model_copy(update={"witness": Witness(kind="suffix", summary="x", data=data)}))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"quotes": [{"file": "a.log", "line": 3, "text": "val_bpb: 1"}]}, [("a.log", 3, "val_bpb: 1")]),
        ({"place": "t.py:812 eval_val < main:1207", "source": SOURCE}, [("t.py", 812, "loss = model(x, y)")]),
        ({"training": {"place": "t.py:1207 main"}, "source": SOURCE}, [("t.py", 1207, "eval_val(args)")]),
        ({"place": "t.py:812 eval_val"}, [("t.py", 812, "")]),
        ({"place": "t.py:9 f", "source": SOURCE}, [("t.py", 9, "")]),
        ({"place": "x.py:812 f", "source": SOURCE}, [("x.py", 812, "")]),
        ({"place": "t.py:812 f", "source": "forged"}, [("t.py", 812, "")]),
        ({"place": "t.py:812 f", "source": [["t.py:812"], [1, 2], "x", None]}, [("t.py", 812, "")]),
        ({"position": 3}, []),
    ],
)  # fmt: skip
def test_a_place_has_the_line_that_the_witness_quotes(data: dict[str, Any], says: list[tuple[str, int, str]]) -> None:
    assert found(data) == says


def test_views_quote_the_line_of_a_scripts_failure() -> None:
    witness = Witness(kind="suffix", summary="x", data={"place": "t.py:812 eval_val", "source": SOURCE})
    made = record([causality().model_copy(update={"witness": witness})])
    assert "- `t.py:812` `loss = model(x, y)`" in markdown.render(made)
    assert "loss = model(x, y)" in sarif.render(made)
