"""Checks that a model is alive: it computes, learns and generates, and its inputs matter."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from tinybuild.config.overrides import nodes
from tinybuild.expected.format import NEVER
from tinybuild.feeding.inputs import (
    MARGIN,
    NEW_TOKENS,
    Continued,
    covered,
    modalities,
    varied,
    verdict,
)
from tinybuild.feeding.inputs.contents import contents, renewed
from tinybuild.portable.arithmetic import exactly, products
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.learning import kept, learn, objective
from tinybuild.validate.subject import Batch, Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

BATCHES = 4  # drawn before a parameter is called dead: few tokens reach few experts
TRIALS = 8  # forward passes to tell what acts from what is not used
STEPS = (1e-1, 1e-2, 1e-3, 1e-4)  # parts of the loss that one step is meant to take away


@check("model")
def forward(subject: Subject) -> Result:
    """The outputs for one batch are finite."""
    if subject.no_batch is not None:
        raise subject.no_batch
    bad = [name for name, tensor in subject.outputs.items() if not tensor.isfinite().all()]
    count = len(subject.outputs)
    return Result.of(
        not bad and count > 0,
        measured=f"not finite: {', '.join(bad)}" if bad else f"{count} finite outputs",
        wanted="finite outputs",
        values={"outputs": count, "not_finite": len(bad)},
        note=_finite(subject, bad) if bad else "",
    )


def _finite(subject: Subject, bad: Sequence[str]) -> str:
    """What makes outputs finite: another dtype, where float32 holds them."""
    if subject.made.dtype == "float16":
        exact = subject.computed(subject.exact_batch(), subject.exact)
        if all(exact[name].isfinite().all() for name in bad if name in exact):
            return "float16 ends at 65,504, and float32 holds them: set model.dtype to bfloat16"
    return "draw weights less wide: a smaller model.initializer_range"


@check("model")
def backward(subject: Subject) -> Result:
    """The gradients of the loss (or of the outputs' mean square) are finite, and there are some."""
    model = subject.model
    model.zero_grad()
    with products(model.dtype):
        loss, _ = learn(model, subject.batch, subject.seed)
    named = dict(model.named_parameters())
    given = {name: p.grad for name, p in named.items() if p.grad is not None}
    bad = [name for name, grad in given.items() if not grad.isfinite().all()]
    alive = sum(bool(grad.any()) for grad in given.values())
    model.zero_grad(set_to_none=True)
    ok = not bad and alive > 0 and bool(loss.isfinite())
    value = subject.elsewhere.answer.loss  # the same number on every machine
    return Result.of(
        ok,
        measured=f"not finite: {', '.join(bad[:5])}"
        if bad
        else f"loss {value:.4g}, gradients in {alive} of {len(named)} parameters",
        wanted="a finite loss and finite gradients",
        values={
            "loss": value,
            "parameters": len(named),
            "with_gradients": alive,
            "not_finite": len(bad),
        },
    )


@check("model")
def learns_from_labels(subject: Subject) -> Result | None:
    """What a training script gives is enough: inputs and labels make a finite loss, without the ids
    of the decoder."""
    model, batch = subject.exact, subject.exact_batch()
    takes = inspect.signature(model.forward).parameters
    if "labels" not in takes or "decoder_input_ids" not in takes or not shifts(type(model)):
        return None  # the batch of the checks above is what a script gives
    given = {name: v for name, v in batch.items() if not name.startswith("decoder_")}
    begun = batch.get("decoder_input_ids")
    if "labels" not in given and begun is not None:
        given["labels"] = begun
    if "labels" not in given:
        return None
    loss = subject.computed(given, model).get("loss")
    finite = loss is not None and bool(loss.isfinite().all())
    return Result.of(
        finite,
        measured="no loss" if loss is None else "a finite loss" if finite else "not finite",
        wanted="a finite loss",
        values={"arguments": len(given)},
    )


def shifts(kind: type[PreTrainedModel]) -> bool:
    """Whether a class makes its decoder's ids of the labels, by itself or for a collator."""
    own = re.search(r"shift\w*\(\s*labels", inspect.getsource(kind.forward))
    return own is not None or hasattr(kind, "prepare_decoder_input_ids_from_labels")


@check("model")
def gradients(subject: Subject) -> Result:
    """Every trainable parameter has a gradient somewhere, or there is a reason why it has none.

    Reasons, found by trying: it stands behind a gate that its class starts at zero (opened, it
    learns); it has none in a model made anew either (its class cuts it off, or gives it zeros); it
    acts on the outputs without a gradient (it selects: routing, code books); no token was routed to
    its expert; nothing is computed with it (a branch that this forward leaves out). A layer in the
    middle of others may not be left out, nor half of the model.
    """
    named = {n: p for n, p in subject.exact.named_parameters() if p.requires_grad}
    alive, reached = set[str](), set[str]()
    for number in range(BATCHES):
        before = len(alive)
        _learning(subject, number, alive, reached)
        if len(alive) in (before, len(named)):
            break  # all of them, or no batch will reach more
    gated = _behind_gates(subject, [name for name in named if name not in alive])
    alive.update(gated)
    dead = [name for name in named if name not in alive]
    faults, reasons = _without_gradient(subject, named, dead, reached)
    reasons["behind gates that its class starts at zero"] = gated
    notes = [f"{reason}: {listed(names)}" for reason, names in sorted(reasons.items()) if names]
    return Result.of(
        not faults and bool(alive),
        measured=f"none in {listed(sorted({*faults}))}"
        if faults
        else f"gradients in {len(alive)} of {len(named)} parameters",
        wanted="a gradient in every parameter, or a reason",
        values={
            "parameters": len(named),
            "with_gradients": len(alive),
            "behind_gates": len(gated),
            "faults": len({*faults}),
        },
        note="; ".join(notes),
    )


UNUSED, CUT_OFF = "not used by this forward", "none with other weights either"


def _without_gradient(
    subject: Subject, named: Mapping[str, Tensor], dead: Sequence[str], reached: Collection[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Of parameters without a gradient, those that should have one; and the reasons of the others.

    reached: those that have a gradient, of zeros.
    """
    others = [name for name in dead if "expert" not in name]
    zero, none = ([n for n in others if (n in reached) is given] for given in (True, False))
    theirs = set[str]()
    if zero:
        _learning(subject, 0, theirs, set(), subject.anew[0].float().eval())
    skipped = _skipped(named, none)
    faults = [n for n in zero if n in theirs] + [n for n in none if n in skipped]
    idle = [name for name in none if name not in skipped]
    acting = _acting(subject, idle) if idle else set()
    reasons = {
        "an expert that no token reached": [name for name in dead if "expert" in name],
        CUT_OFF: [name for name in zero if name not in theirs],
        UNUSED: [name for name in idle if name not in acting],
        "acts without a gradient (it selects, or is fixed)": sorted(acting),
    }
    apart = _apart(subject.exact, {*reasons[UNUSED]})
    total = sum(p.numel() for name, p in named.items() if name not in apart)
    for reason in (UNUSED, CUT_OFF):
        if 2 * sum(named[name].numel() for name in reasons[reason] if name not in apart) > total:
            faults += reasons.pop(reason)
    return faults, reasons


def _apart(model: PreTrainedModel, unused: Collection[str]) -> set[str]:
    """Parameters of whole models inside that this forward leaves out, and that read no text: they
    are for another call, such as the one that makes images (Janus)."""
    from transformers import PreTrainedModel

    made, reader = set[str](), None
    with contextlib.suppress(NotImplementedError):
        reader = model.get_input_embeddings()
    for name, part in model.named_modules():
        if not name or not isinstance(part, PreTrainedModel):
            continue
        own = {f"{name}.{key}" for key, _ in part.named_parameters()}
        if own <= {*unused} and all(module is not reader for module in part.modules()):
            made |= own
    return made


def _learning(
    subject: Subject,
    number: int,
    alive: set[str],
    reached: set[str],
    model: PreTrainedModel | None = None,
) -> None:
    """Add the names of parameters that a batch gives a gradient that is not zero, and of those it
    gives any."""
    model = model or subject.exact
    model.zero_grad(set_to_none=True)
    learn(model, subject.exact_batch(number), subject.seed)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            reached.add(name)
            if parameter.grad.any():
                alive.add(name)
    model.zero_grad(set_to_none=True)


def _behind_gates(subject: Subject, dead: Sequence[str]) -> list[str]:
    """Those of the dead that learn once the gates are opened that the class starts at zero."""
    import torch

    fresh = dict(subject.anew[0].named_parameters()) if dead else {}
    gates = [
        parameter
        for name, parameter in subject.exact.named_parameters()
        if name in fresh and not parameter.any() and not fresh[name].any()
    ]
    if not gates:
        return []
    drawn = torch.Generator().manual_seed(subject.seed)
    opened = set[str]()
    try:
        with torch.no_grad():
            for gate in gates:
                gate.normal_(std=0.5, generator=drawn)
        _learning(subject, 0, opened, set())
    finally:
        with torch.no_grad():
            for gate in gates:
                gate.zero_()
    return [name for name in dead if name in opened]


def _acting(subject: Subject, names: list[str]) -> set[str]:
    """Those of some parameters that change an output or the loss when they change, and those of
    which so few trials cannot tell."""
    import torch

    model = subject.exact
    named = dict(model.named_parameters())
    batch = subject.exact_batch()
    before = subject.computed(batch, model)
    drawn = torch.Generator().manual_seed(subject.seed)

    def matter(group: list[str]) -> bool:
        kept = {name: named[name].detach().clone() for name in group}
        with torch.no_grad():
            for name in group:
                size = max(float(named[name].abs().max()), 0.1) if named[name].numel() else 0.0
                noise = torch.randn(named[name].shape, generator=drawn) * size
                named[name].add_(noise)
        try:
            return differ(before, subject.computed(batch, model))
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    named[name].copy_(value)

    acting = set[str]()
    groups = [names]
    for _ in range(TRIALS):
        if not groups:
            break
        group = groups.pop(0)
        if matter(group):
            half = len(group) // 2
            if half:
                groups += [group[:half], group[half:]]
            else:
                acting.update(group)
    return acting.union(*groups)


_LAYER = re.compile(r"(.*?\b(?:layers?|blocks?|h|stages)\.)(\d+)\.")


def _skipped(named: Collection[str], idle: Collection[str]) -> set[str]:
    """Idle parameters of layers of which nothing is used though a later one is.

    The last layers may be left out: a model reads the hidden state that it was told to.
    """
    used: dict[str, set[int]] = {}
    every: dict[tuple[str, int], list[str]] = {}
    quiet = set(idle)
    for name in named:
        match = _LAYER.match(name)
        if match:
            stack, number = match[1], int(match[2])
            every.setdefault((stack, number), []).append(name)
            if name not in quiet:
                used.setdefault(stack, set()).add(number)
    return {
        name
        for (stack, number), names in every.items()
        if number not in used.get(stack, set()) and number < max(used.get(stack, {-1}))
        for name in names
    }


def differ(one: Batch, other: Batch) -> bool:
    """Whether any output differs by more than rounding."""
    import torch

    for name in {*one, *other}:
        if name not in one or name not in other:
            return True
        a, b = one[name].float(), other[name].float()
        if a.shape != b.shape:
            return True
        masked = (b.abs() > NEVER) & (a == b)  # the rest is not on the scale of a mask's number
        a, b = a[~masked], b[~masked]
        scale = float(b.abs().max() or 1) if b.numel() else 1.0
        if not torch.allclose(a, b, rtol=1e-5, atol=1e-6 * scale):
            return True
    return False


@check("model")
def inputs_matter(subject: Subject) -> Result:
    """Each input, changed alone, changes the outputs: text, image, sound, decoder."""
    import torch

    batch = subject.exact_batch()
    plain = {n: v for n, v in batch.items() if "label" not in n and not n.endswith("_positions")}
    before = subject.computed(plain, subject.exact)
    names = contents(plain)
    if not any(node.is_encoder_decoder for _, node in nodes(subject.model.config)):
        # Taken for the other language models that the class may be made with.
        names = [name for name in names if not name.startswith("decoder_")]
    idle = []
    for name in names:
        drawn = torch.Generator().manual_seed(subject.seed + 1)
        changed = {**plain, name: renewed(name, plain[name], subject.special, drawn)}
        if not differ(before, subject.computed(changed, subject.exact)):
            idle.append(name)
    return Result.of(
        bool(names) and not idle,
        measured=f"no output depends on {', '.join(idle)}"
        if idle
        else f"the outputs depend on {', '.join(names) or 'nothing'}",
        wanted="outputs that depend on every input",
        values={"inputs": len(names), "idle": len(idle)},
    )


@check("model")
def every_modality(subject: Subject) -> Result | None:
    """Each modality that the class takes is in the batch, or, where the class takes one of two at a
    time, in a batch of its own, whose outputs are finite and depend on it."""
    model, given = subject.exact, subject.exact_batch()
    wanted = modalities(model)
    if len(wanted) < 2:
        return None  # what the checks above say of
    here = covered(model, given)
    faults: list[str] = []
    alone = subject.alone
    for kind, batch in alone.items():
        if kind not in covered(model, batch):
            faults.append(f"no batch holds {kind}")
            continue
        before = subject.computed(batch, model)
        if not all(bool(tensor.isfinite().all()) for tensor in before.values()):
            faults.append(f"not finite with {kind}")
            continue
        other = varied(model, batch, kind, subject.seed + 1)
        if not differ(before, subject.computed(other, model)):
            faults.append(f"no output depends on {kind}")
    return Result.of(
        not faults,
        measured="; ".join(faults)
        or ", ".join(here) + "".join(f"; {kind} in a batch of its own" for kind in alone),
        wanted=", ".join(wanted),
        values={"modalities": len(wanted), "alone": len(alone), "faults": len(faults)},
    )


@check("model")
def generate(subject: Subject) -> Result | None:
    """A class that generates does so, and every id is in the vocabulary."""
    rows = subject.rows
    made = subject.generated
    if made is None or rows is None:
        return None
    low = min(int(tokens.min()) for tokens, _ in made)
    high = max(int(tokens.max()) for tokens, _ in made)
    new = min(len(logits) for _, logits in made)
    return Result.of(
        low >= 0 and high < rows and new == NEW_TOKENS,
        measured=f"{new} new tokens, "
        + ("ids in the vocabulary" if low >= 0 and high < rows else f"ids {low} to {high}"),
        wanted=f"{NEW_TOKENS} new tokens, ids 0 to {rows - 1}",
        values={"new_tokens": new, "rows": rows},
    )


@check("model")
def generation_differs(subject: Subject) -> Result | None:
    """Different prompts are continued differently, and the best token is not a matter of rounding.

    The margin is the median over all places of the largest logit less the next. It is asked of
    models that are shrunk by rule; elsewhere the recipe decides how wide weights are drawn. Both
    are told of the model in float32: each CPU rounds shorter numbers in its own way.
    """
    made = subject.generated_exactly
    if made is None:
        return None
    seen = subject.exact_outputs
    count, prompts, margin = verdict(Continued(parts=tuple(made)), seen.get("logits"))
    least = MARGIN if subject.wish.shrink == "auto" else 0.0
    ok = count > 1 and margin >= least
    return Result.of(
        ok,
        measured=f"{count} continuations of {prompts} prompts, margin {margin:.2g}",
        wanted="at least 2 continuations" + (f", margin {least:g}" if least else ""),
        values={"continuations": count, "prompts": prompts, "margin": float(f"{margin:.2g}")},
        note="" if ok else "a wider initializer_range (docs/models.md)",
    )


@check("model")
def trains(subject: Subject) -> Result:
    """One step down the gradient lowers the loss of its batch."""
    import torch

    model, batch = subject.exact, subject.exact_batch()
    with kept(model), exactly():
        loss, training = learn(model, batch, subject.seed)
        given = [(p, p.detach().clone(), p.grad) for p in model.parameters() if p.grad is not None]
        square = float(sum(grad.pow(2).sum() for _, _, grad in given))
        before = after = loss.item()
        with torch.no_grad():
            for part in STEPS:
                rate = part * abs(before) / square if square else 0.0
                for parameter, value, grad in given:
                    parameter.copy_(value - rate * grad)
                after = float(objective(model, batch, subject.seed, training))
                if after < before:
                    break
    return Result.of(
        after < before,
        measured=f"loss {before:.4g} -> {after:.4g}",
        wanted="a lower loss after one step",
        values={"loss_before": before, "loss_after": after},
    )
