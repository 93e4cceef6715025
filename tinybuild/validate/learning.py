"""One step of training as the checks take it: what is minimised, and how to leave no trace."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinybuild.expected.format import NEVER
from tinybuild.feeding.inputs import tensors
from tinybuild.validate.subject import Batch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def objective(model: PreTrainedModel, batch: Batch, seed: int, training: bool = False) -> Tensor:
    """What is minimised: the class's loss, or the outputs' mean square where it has none."""
    return minimised(outputs(model, batch, seed, training))


def outputs(
    model: PreTrainedModel, batch: Batch, seed: int, training: bool = False
) -> dict[str, Tensor]:
    """The floating-point outputs for a batch, as a training step computes them, without dropout."""
    import torch

    given = dict(batch)
    model.train()  # and back: classes drop what they keep between calls, its graph with it
    model.train(training)
    forget(model)
    if "use_cache" in inspect.signature(model.forward).parameters:
        given["use_cache"] = False  # a state that is written in place has no gradient
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tensors(model(**given))


def minimised(outputs: Batch) -> Tensor:
    """The loss among the outputs, or the mean square of all that have a gradient: what stands for
    a mask is not a number to learn."""
    loss = outputs.get("loss")
    if loss is not None:
        return loss.float().mean()
    learned = [tensor.float() for tensor in outputs.values() if tensor.requires_grad]
    return sum(one.masked_fill(one.abs() > NEVER, 0).pow(2).mean() for one in learned)


@contextlib.contextmanager
def kept(model: PreTrainedModel) -> Iterator[None]:
    """Afterwards the parameters are as they were, and have no gradients."""
    import torch

    values = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    try:
        model.zero_grad(set_to_none=True)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in values:
                parameter.copy_(value)
        model.zero_grad(set_to_none=True)
        model.eval()


def forget(model: PreTrainedModel) -> None:
    """Empty what modules keep of what they computed before: its graph is gone after one backward.

    (A cache of the embeddings of texts, say: a dictionary, or an object around one.)
    """
    for module in model.modules():
        for value in vars(module).values():
            kept = value if isinstance(value, dict) else getattr(value, "cache", None)
            if isinstance(kept, dict) and any(_computed(item) for item in kept.values()):
                kept.clear()


def _computed(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_computed(item) for item in value)
    return getattr(value, "grad_fn", None) is not None


def learn(model: PreTrainedModel, batch: Batch, seed: int) -> tuple[Tensor, bool]:
    """The objective, its gradients added to the parameters'; and whether it took training mode.

    A class that computes its activations again on the way back, to save memory, does so in training
    mode only: it is asked in that mode where it insists.
    """
    loss = objective(model, batch, seed)
    try:
        loss.backward()
    except AssertionError as error:
        if "train" not in str(error):
            raise
    else:
        return loss, False
    model.zero_grad(set_to_none=True)
    try:
        loss = objective(model, batch, seed, training=True)
        loss.backward()
    finally:
        model.eval()
    return loss, True
