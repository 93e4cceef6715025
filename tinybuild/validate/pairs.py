"""Check of a dataset with a model: the recipe's own rows train it, as a training script would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinybuild.config import heads
from tinybuild.facts import DatasetRows
from tinybuild.validate import learning
from tinybuild.validate.batches import Batches, Unfit, batches, is_learned
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    from transformers import PretrainedConfig

RATE = 1e-3  # of the step; Adam moves each number that has a gradient by about that much
WANTED = "a finite loss, finite gradients, changed parameters"


@check("model", "dataset")
def rows_train(subject: Subject) -> Result | None:
    """The first rows go through tokenizer or processor and collator into one step of Adam.

    Texts are cut as training scripts do, to the tokenizer's model_max_length (and to TOKENS). What
    is learned follows the class's task: the next token, masked tokens, the second text, the classes
    of the rows; the outputs' mean square where the rows have nothing to learn for it, which the
    note says. The rows are of the first config that has what the model reads (`default` first).
    None where none has, or where there is no tokenizer or processor to make it of them.
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

    model, losses, unlearned = subject.exact, list[float](), False
    with learning.kept(model), _padding(heads.text_part(model.config), made.pad):
        for part in made.parts:
            outputs = learning.outputs(model, part, subject.seed)
            unlearned = unlearned or (is_learned(part) and "loss" not in outputs)
            loss = learning.minimised(outputs)
            (loss / len(made.parts)).backward()
            losses.append(loss.item())
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        given = {name: p for name, p in named.items() if p.grad is not None}
        bad = [name for name, p in given.items() if not p.grad.isfinite().all()]
        before = {name: p.detach().clone() for name, p in named.items()}
        torch.optim.Adam(given.values(), lr=RATE).step()
        changed = [name for name, p in named.items() if not torch.equal(p, before[name])]
        bad = bad or [name for name in changed if not named[name].isfinite().all()]
    loss = sum(losses) / len(losses)
    finite = abs(loss) < float("inf")  # false for NaN, too
    noun = "row" if made.rows == 1 else "rows"
    told = f"{made.rows} {noun} of {', '.join(made.inputs)}: loss {loss:.4g}"
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
