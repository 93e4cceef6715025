"""Random weights: as the class draws them, filled where it leaves zeros, calibrated."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from tinybuild.config.meta import refusable
from tinybuild.errors import BuildFault
from tinybuild.feeding import inputs
from tinybuild.keys import says
from tinybuild.model import named
from tinybuild.portable import chance
from tinybuild.portable.arithmetic import exactly

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

# What a model is tried on; None where no rule makes any: that is what the check `forward` finds.
Batch: TypeAlias = "Callable[[], dict[str, torch.Tensor] | None]"

GATES = 0.25  # 2 / sqrt(64), as wide as a tiny model's other weights
CODES = 0.02  # standard deviation of code books, see fill
LEAST_VARIANCE = 0.1  # of a channel, in parts of its norm's mean
TRIED = 4  # batches of prompts that a spread is tried on


def drawn(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, seed: int
) -> PreTrainedModel:
    """A model with weights as its class draws them, and drawn where it leaves zeros; torch's random
    numbers are as before."""
    configs = iter((copy.deepcopy(config), config))  # some classes change their config
    model = named.drawn(lambda: refusable(lambda: model_class(next(configs)), model_class), seed)
    _fill(model, seed)
    return model


def _fill(model: PreTrainedModel, seed: int) -> None:
    """Draw what its class leaves at zero: nothing would pass there, and all behind it were dead.

    Gates, projections, positions and norms that add one: as other weights are. Biases stay, but
    those of routers, without which the same experts are chosen. Code books, which training fills:
    small ones, for the nearest of codes that are longer than what is looked up is the shortest
    code, whatever the input.
    """
    import torch

    def fill(name: str, tensor: torch.Tensor, std: float) -> None:
        numbers = std * chance.normal(tensor.numel(), seed, name, "filled")
        tensor.copy_(torch.from_numpy(numbers.reshape(tensor.shape)))

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any() and not name.endswith("bias"):
                fill(name, parameter, GATES)
        saved = model.state_dict().keys()
        for name, buffer in model.named_buffers():
            code = name in saved and buffer.is_floating_point() and buffer.dim() >= 2
            if code and not buffer.any():
                fill(name, buffer, CODES)
        for name, tensor in model.state_dict().items():
            if says(name.rpartition(".")[2], "router's bias") and not tensor.any():
                fill(name, tensor, GATES)


def batch_of(
    model: PreTrainedModel, seed: int, known: Mapping[str, torch.Tensor] | None = None
) -> Batch:
    """A batch for a model, made once, when it is first asked for; or the one that is known."""

    @functools.cache
    def made() -> dict[str, torch.Tensor] | None:
        if known is not None:
            return dict(known)
        try:
            return inputs.batch(model, seed)
        except BuildFault:
            return None

    return made


def calibrate(model: PreTrainedModel, made: Batch, seed: int) -> None:
    """Give batch norms the statistics of one batch, as training would.

    With means of 0 and variances of 1 whatever the activations are, these vanish from layer to
    layer, and the last ones are the same for all inputs. Of the few numbers that a channel has in
    one batch some are equal by chance: divided by their variance, another batch's were huge.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    batch = made() if norms else None
    if batch is None:
        return

    def measured(norm: _BatchNorm, given: tuple[torch.Tensor, ...]) -> None:
        channels = given[0].double().transpose(0, 1).flatten(1)
        variance = channels.var(1, correction=int(channels.shape[1] > 1))
        norm.running_mean.copy_(channels.mean(1))
        norm.running_var.copy_(variance.clamp_min(LEAST_VARIANCE * variance.mean()))

    hooks = [norm.register_forward_pre_hook(measured) for norm in norms]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), exactly():
        torch.manual_seed(seed)
        try:
            refusable(lambda: model(**batch), type(model))
        finally:
            for hook in hooks:
                hook.remove()


def different(model: PreTrainedModel, made: Batch, seed: int) -> float | None:
    """The part of a model's greedy continuations that differ, of prompts that the check does not
    use; 0 where rounding decides them. None where there are none to compare."""
    import torch

    batch = made()
    if batch is None:
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        logits = inputs.tensors(model(**batch)).get("logits")
    batches = [batch]
    for number in range(1, TRIED):
        other = dict(batch)
        for modality in inputs.covered(model, batch):
            other = inputs.varied(model, other, modality, seed + number)
        batches.append(other)
    said = inputs.continued(model, batches, seed)
    if not said.parts:
        return None
    count, prompts, margin = inputs.verdict(said, logits)
    return count / prompts if count > 1 and margin >= inputs.MARGIN else 0.0
