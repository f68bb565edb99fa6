"""What people have, as what `audit_scorer` takes. A model that returns logits needs none of this: `audit_model`.

Nothing here imports the libraries that it is for: what is used of them is named in each function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.errors import UsageError
from harness.library.calling import LENGTHS, VOCABULARIES, doubled, evaluating, logits_of, module_of, said
from harness.library.scorers import Scorer

Score = Callable[[torch.Tensor], Any]


def sliding(
    model: Any, vocab_size: int | None = None, *, window: int | None = None, stride: int | None = None, **more: Any
) -> Scorer:
    """A model scored in overlapping windows, each of which counts for its last `stride` tokens.

    Args:
        model: int64 [B, T] -> logits, as of `audit_model`; also a causal language model of `transformers`.
        vocab_size: by default what its config says.
        window: tokens of a window; by default what its config says, at most 1,024.
        stride: by default half a window.
        more: fields of the `Scorer`.
    """
    vocab, width = _facts(model, vocab_size, window)
    step = stride or width // 2
    if not 1 <= step <= width:
        raise UsageError(f"stride: {step}, and a window has {width}")

    def score(played: Any) -> Score:
        def scored(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            positions, rows, done = [], [], 0
            with evaluating(played):
                while done < len(tokens) - 1:
                    end = min(len(tokens) - 1, width if not done else done + step)
                    begin = max(0, end - width)
                    logits = logits_of(played(tokens[None, begin:end]))[0]
                    rows.append(logits[done - begin :])
                    positions.append(torch.arange(done + 1, end + 1))
                    done = end
            return torch.cat(positions), torch.cat(rows)

        return scored

    return _scorer(model, score, vocab, {"steps": (width, step), **more})


def cached(model: Any, vocab_size: int | None = None, **more: Any) -> Scorer:
    """A model that decodes with its cache, a token at a time: `model(ids, past_key_values=..., use_cache=True)`.

    What it returns has `.logits` and `.past_key_values`, as models of `transformers` do; or `.cache`, and then it takes
    `cache=...`, as theirs do since 5.24. Audited beside the same model without a cache this shows whether the cache
    keeps what it must not.
    """
    vocab, _ = _facts(model, vocab_size, 8)

    def score(played: Any) -> Score:
        def scored(tokens: torch.Tensor) -> torch.Tensor:
            rows: list[torch.Tensor] = []
            past: dict[str, Any] = {}
            with evaluating(played):
                for at in range(len(tokens) - 1):
                    out = played(tokens[None, at : at + 1], use_cache=True, **past)
                    kept = getattr(out, "cache", None)
                    past = {"past_key_values": out.past_key_values} if kept is None else {"cache": kept}
                    rows.append(logits_of(out)[0, -1])
            return torch.stack(rows)

        return scored

    return _scorer(model, score, vocab, more)


def losses(model: Any, vocab_size: int | None = None, *, window: int | None = None, **more: Any) -> Scorer:
    """A model that takes targets and returns losses: `model(idx, targets, loss_reduction="none")`, as in nanochat.

    Losses are one for each token, [B * T] or [B, T]. Windows follow one another without overlap.
    """
    vocab, width = _facts(model, vocab_size, window)

    def score(played: Any) -> Score:
        def scored(tokens: torch.Tensor) -> torch.Tensor:
            parts = []
            with evaluating(played):
                for begin in range(0, len(tokens) - 1, width):
                    given = tokens[begin : begin + width + 1]
                    out = played(given[None, :-1], given[None, 1:], loss_reduction="none")
                    loss = out[1] if isinstance(out, tuple) else out
                    if loss.numel() != len(given) - 1:
                        raise UsageError(
                            f"the model returned {loss.numel()} losses for {len(given) - 1} tokens; one each is wanted"
                        )
                    parts.append(loss.detach().reshape(-1))
            return torch.cat(parts)

        return scored

    return _scorer(model, score, vocab, {"steps": (width,), "kind": "nll", **more})


@dataclass(frozen=True)
class _Request:
    """What `loglikelihood_rolling` reads of an `lm_eval.api.instance.Instance`."""

    args: tuple[str]
    request_type: str = "loglikelihood_rolling"
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str]:
        """Another name of it."""
        return self.args


def rolling(
    lm: Any, decode: Callable[[Sequence[int]], str], vocab_size: int, *, grain: int = 32, **more: Any
) -> Scorer:
    """A model of lm-evaluation-harness: `lm.loglikelihood_rolling(requests)`, a total for each text.

    The stream is cut into texts of `grain` tokens, all in one list of requests, as documents are in an evaluation.
    Totals tell of whole texts only: flips show whether one depends on those after it (order, padding, a cache that is
    kept), and what is seen inside a text shows in the null stream, from 21 nats on.

    Args:
        lm: with `loglikelihood_rolling`, which takes requests with `.args == (text,)` and returns a log-likelihood in
            nats for each, alone or as the first of a tuple.
        decode: from ids to text; other ids have to give another text.
        vocab_size: ids are drawn below it.
        grain: tokens of a text.
        more: fields of the `Scorer`.
    """

    def scored(tokens: torch.Tensor) -> torch.Tensor:
        ids = tokens.tolist()
        pieces = [ids[begin : begin + grain] for begin in range(0, len(ids), grain)]
        totals = lm.loglikelihood_rolling([_Request((decode(piece),)) for piece in pieces])
        spread = []
        for piece, total in zip(pieces, totals, strict=True):
            value = float(total[0] if isinstance(total, tuple | list) else total)
            spread += [-value / len(piece)] * len(piece)
        # Token 0 is given to no scorer as a target: its share goes to the others of its text.
        first = min(grain, len(ids))
        made = torch.tensor(spread[1:], dtype=torch.float64)
        made[: first - 1] += spread[0] / max(1, first - 1)
        return made

    named = {"name": type(lm).__name__, "kind": "nll", "grain": grain}
    return Scorer(scored, vocab_size, **{**named, **more})


def _facts(model: Any, vocab_size: int | None, window: int | None) -> tuple[int, int]:
    vocab = vocab_size if vocab_size is not None else said(model, VOCABULARIES)
    width = window if window is not None else said(model, LENGTHS)
    if vocab is None or width is None:
        missing = "vocab_size" if vocab is None else "window"
        raise UsageError(f"{missing}: the model has no config that says it, so it has to be given")
    return vocab, width if window is not None else min(width, 1024)


def _scorer(model: Any, score: Callable[[Any], Score], vocab: int, more: dict[str, Any]) -> Scorer:
    """The scorer, its arithmetic in float64 with a copy that is made when it is wanted, and its name and device."""
    module = module_of(model)
    copies: list[Any] = []

    def exact(tokens: torch.Tensor) -> Any:
        if not copies:
            copies.append(doubled(model))
        if copies[0] is None:
            raise NotImplementedError("the module cannot be copied in float64")
        return score(copies[0])(tokens)

    place = next((one.device for one in module.parameters()), None) if module is not None else None
    fields = {"name": type(module or model).__name__, "device": str(place or "cpu"),
              "exact": exact if module is not None else None}  # fmt: skip
    return Scorer(score(model), vocab, **{**fields, **more})
