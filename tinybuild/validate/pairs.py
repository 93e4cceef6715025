"""Check of a dataset with a model: the recipe's own rows train it, as a training script would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tinybuild.config import heads
from tinybuild.facts import DatasetRows
from tinybuild.validate import learning
from tinybuild.validate.batches import Batches, Unfit, batches, is_learned
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

RATE = 1e-3  # of the step; Adam moves each number that has a gradient by about that much
WANTED = "a finite loss, finite gradients, changed parameters"


@check("model", "dataset")
def rows_train(subject: Subject) -> Result | None:
    """The first rows go through tokenizer or processor and collator into one step of Adam.

    Texts are cut as training scripts do, to the tokenizer's model_max_length (and to TOKENS). What
    is learned follows the class's task: the next token, masked tokens, the second text, the classes
    of the rows, an answer after its prompt, a preferred answer before another; the outputs' mean
    square where the rows have nothing to learn for it, which the note says, as it says which
    columns were not used. The rows are of the first config that has what the model reads (`default`
    first). None where none has, or where there is no tokenizer or processor to make it of them.
    """
    configs = sorted(
        subject.read("dataset", DatasetRows).configs, key=lambda name: name != "default"
    )
    try:
        made = next((made for name in configs if (made := batches(subject, name))), None)
    except Unfit as unfit:
        return Result.of(
            False, measured=unfit.measured, wanted=unfit.wanted, values={}, note=unfit.hint
        )
    return None if made is None else _step(subject, made)


def _step(subject: Subject, made: Batches) -> Result:
    """Gradients of all parts, one step, and what it changed; the model is as before afterwards."""
    import torch

    model, costs, unlearned = subject.exact, list["Tensor"](), False
    with learning.kept(model), _padding(heads.text_part(model.config), made.pad):
        for part in (*made.parts, *made.worse):
            outputs = learning.outputs(model, part, subject.seed)
            unlearned = unlearned or (is_learned(part) and "loss" not in outputs)
            cost = -outputs["logits"].float().mean() if made.scored else learning.minimised(outputs)
            costs.append(cost)
            if not made.worse:
                (cost / len(made.parts)).backward()
        total = torch.stack(costs).mean()
        if made.worse:
            total = _preferred(costs[: len(made.parts)], costs[len(made.parts) :])
            total.backward()
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        given = {name: p for name, p in named.items() if p.grad is not None}
        bad = [name for name, p in given.items() if not p.grad.isfinite().all()]
        before = {name: p.detach().clone() for name, p in named.items()}
        torch.optim.Adam(given.values(), lr=RATE).step()
        changed = [name for name, p in named.items() if not torch.equal(p, before[name])]
        bad = bad or [name for name in changed if not named[name].isfinite().all()]
    loss = total.item()
    finite = abs(loss) < float("inf")  # false for NaN, too
    noun = "row" if made.rows == 1 else "rows"
    told = f"{made.rows} {noun} of {made.told}: loss {loss:.4g}"
    if unlearned:
        told += ", which is not the class's own"
    told += f", {len(changed)} of {len(named)} parameters changed"
    if bad:
        told += f", not finite: {listed(bad)}"
    return Result.of(
        finite and not bad and bool(changed) and not unlearned,
        measured=told,
        wanted=WANTED,
        values={
            "loss": loss,
            "rows": made.rows,
            "parameters": len(named),
            "changed": len(changed),
            "not_finite": len(bad),
        },
        note=made.note,
    )


def _preferred(good: Sequence[Tensor], bad: Sequence[Tensor]) -> Tensor:
    """What preference training minimises: how much less likely good answers are than bad ones, as a
    logistic loss (SimPO's, without a margin; of good or bad ones alone, KTO's without a reference).
    """
    import torch

    nothing = torch.zeros(())
    margin = sum(bad, nothing) / (len(bad) or 1) - sum(good, nothing) / (len(good) or 1)
    return -torch.nn.functional.logsigmoid(margin)


@contextlib.contextmanager
def _padding(config: PretrainedConfig, pad: int | None) -> Iterator[None]:
    """A config that says which token pads, as scripts set it where the model's own does not."""
    before = getattr(config, "pad_token_id", None)
    if before is None:
        config.pad_token_id = pad
    try:
        yield
    finally:
        config.pad_token_id = before
