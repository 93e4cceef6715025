"""Checks of a model: it loads, computes, trains and generates; ids are in its vocabulary."""

from __future__ import annotations

import json
from typing import Any

from tinybuild import bundle, heads
from tinybuild.ids import mentioned
from tinybuild.inputs import tensors
from tinybuild.validate.check import Check, Subject

NEW_TOKENS = 5


def reload(subject: Subject) -> Check:
    """from_pretrained finds every weight it wants, and no other."""
    _, info = subject.load_model(subject.folder)
    faults = {
        kind: sorted(str(key) for key in info[kind])
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    }
    return Check(
        name="reload",
        ok=not faults,
        measured=str(faults) if faults else f"{len(subject.model.state_dict())} tensors",
        wanted="no missing, unexpected or mismatched keys",
    )


def dtype(subject: Subject) -> Check:
    """Every weight has the recipe's dtype after reloading."""
    wanted = subject.facts["model"]["dtype"]
    found = sorted(
        {str(p.dtype).removeprefix("torch.") for p in subject.model.parameters()} - {wanted}
    )
    measured = ", ".join([wanted, *found]) if found else wanted
    return Check(name="dtype", ok=not found, measured=measured, wanted=wanted)


def ids_in_vocabulary(subject: Subject) -> Check | None:
    """Every token id of config, generation config and tokenizer is a row of the embedding."""
    embedding = _rows(subject.model)
    if embedding is None:
        return None
    found: list[int] = []
    for name in ("config.json", "generation_config.json"):
        path = subject.folder / name
        if path.is_file():
            found += mentioned(json.loads(path.read_text()))
    if "tokenizer" in subject.facts:
        found.append(max(subject.tokenizer.get_vocab().values()))
    largest = max(found, default=-1)
    return Check(
        name="ids_in_vocabulary",
        ok=largest < embedding,
        measured=f"largest id {largest}",
        wanted=f"less than {embedding}",
        note="" if largest < embedding else "set the id in model.config, or vocab_size higher",
    )


def _rows(model: Any) -> int | None:
    """Rows of the token embedding; None for a model without one."""
    size = getattr(heads.text_part(model.config), "vocab_size", None)
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        weight = None
    if size is None:
        return None
    if weight is not None and weight.dim() == 2 and weight.shape[0] >= size:
        return int(weight.shape[0])
    return int(size)


def forward(subject: Subject) -> Check:
    """The outputs for one batch are finite."""
    bad = [name for name, tensor in subject.outputs.items() if not tensor.isfinite().all()]
    count = len(subject.outputs)
    return Check(
        name="forward",
        ok=not bad and count > 0,
        measured=f"not finite: {', '.join(bad)}" if bad else f"{count} finite outputs",
        wanted="finite outputs",
        note="a smaller initializer_range, or bfloat16 instead of float16" if bad else "",
    )


def backward(subject: Subject) -> Check:
    """The gradients of the loss (or of the outputs' mean square) are finite, and there are some."""
    model = subject.model
    model.zero_grad()
    found = tensors(model(**subject.batch))
    loss = found.get("loss")
    if loss is None:
        loss = sum(
            tensor.float().pow(2).mean() for tensor in found.values() if tensor.requires_grad
        )
    loss.backward()
    named = dict(model.named_parameters())
    given = {name: p.grad for name, p in named.items() if p.grad is not None}
    bad = [name for name, grad in given.items() if not grad.isfinite().all()]
    alive = sum(bool(grad.any()) for grad in given.values())
    model.zero_grad(set_to_none=True)
    value = loss.item()
    ok = not bad and alive > 0 and value == value and abs(value) != float("inf")
    return Check(
        name="backward",
        ok=ok,
        measured=f"not finite: {', '.join(bad[:5])}"
        if bad
        else f"loss {value:.4g}, gradients in {alive} of {len(named)} parameters",
        wanted="a finite loss and finite gradients",
    )


def generate(subject: Subject) -> Check | None:
    """A class that generates does so, and every id is in the vocabulary."""
    import torch

    model = subject.model
    rows = _rows(model)
    if not model.can_generate() or "input_ids" not in subject.batch or rows is None:
        return None
    skip = ("labels", "decoder_input_ids")
    inputs = {name: value for name, value in subject.batch.items() if name not in skip}
    if not model.config.is_encoder_decoder:
        for name in ("input_ids", "attention_mask"):  # without the eos at the end
            if name in inputs:
                inputs[name] = inputs[name][:, :-1]
    with torch.no_grad():
        made = model.generate(
            **inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False
        )
    low, high = int(made.min()), int(made.max())
    start = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    new = made.shape[1] - start
    return Check(
        name="generate",
        ok=low >= 0 and high < rows and new == NEW_TOKENS,
        measured=f"{new} new tokens, ids {low} to {high}",
        wanted=f"{NEW_TOKENS} new tokens, ids 0 to {rows - 1}",
    )


def save_load_equal(subject: Subject) -> Check:
    """Saved and loaded once more, weights are the same bits and outputs the same numbers."""
    import torch

    folder = subject.scratch / "again"
    subject.model.save_pretrained(folder)
    again, _ = subject.load_model(folder)
    before, after = subject.model.state_dict(), again.state_dict()
    different = sorted(
        name
        for name in {*before, *after}
        if name not in before or name not in after or not torch.equal(before[name], after[name])
    )
    with torch.no_grad():
        outputs = tensors(again(**subject.batch))
    # Weights equal bit for bit give outputs that differ in the last bits for about one in ten
    # architectures (memory alignment decides the kernel); 1e-3 also holds for bfloat16.
    far = [
        name
        for name, tensor in subject.outputs.items()
        if name not in outputs
        or not torch.allclose(tensor.float(), outputs[name].float(), rtol=1e-3, atol=1e-3)
    ]
    what = [f"weights {', '.join(different[:5])}"] if different else []
    what += [f"outputs {', '.join(far[:5])}"] if far else []
    return Check(
        name="save_load_equal",
        ok=not what,
        measured=f"different {' and '.join(what)}" if what else f"{len(before)} tensors equal",
        wanted="equal weights, outputs within 1e-3",
    )


def max_parameters(subject: Subject) -> Check:
    """The model has the number of parameters that were counted, within the recipe's bound."""
    count = sum(p.numel() for p in subject.model.parameters())
    most, counted = subject.checks["max_parameters"], subject.facts["model"]["parameters"]
    return Check(
        name="max_parameters",
        ok=count <= most and count == counted,
        measured=f"{count:,}",
        wanted=f"{counted:,}, at most {most:,}",
    )


def max_bytes(subject: Subject) -> Check | None:
    """The bundle is within the recipe's bound."""
    most = subject.checks.get("max_bytes")
    if most is None:
        return None
    found = bundle.size(subject.folder)
    sizes = sorted(
        ((path.stat().st_size, path.name) for path in subject.folder.rglob("*") if path.is_file()),
        reverse=True,
    )
    largest = ", ".join(f"{name} {size:,}" for size, name in sizes[:3])
    return Check(
        name="max_bytes",
        ok=found <= most,
        measured=f"{found:,} bytes",
        wanted=f"at most {most:,}",
        note="" if found <= most else f"the largest files: {largest}",
    )
