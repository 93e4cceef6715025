"""Random weights: as the class draws them, filled where it leaves zeros, calibrated."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tinybuild.config import heads
from tinybuild.config.meta import Asked, refusable
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
ROOM = 2.0  # times the margin that the check asks of its own prompts
LEAST_VARIANCE = 0.1  # of a channel, in parts of its norm's mean
TRIED = 4  # batches of prompts that a draw is tried on
ENOUGH, HALF = 7 / 8, 1 / 2  # of eight continuations
DRAWS = 8  # of one spread, at most
USUAL = 3.0  # times the loss of a guess, or a third of it


def drawn(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    seed: int,
    usual: PreTrainedConfig,
) -> PreTrainedModel:
    """A model with weights as its class draws them, and drawn where it leaves zeros; torch's random
    numbers are as before. usual: the same config but for how wide weights are drawn, which does not
    decide what is drawn."""
    known = _seen(Asked.of(model_class, usual))
    model = named.drawn(lambda: refusable(lambda: model_class(config), model_class), seed, known)
    _fill(model, seed)
    return model


@functools.lru_cache(maxsize=8)
def _seen(asked: Asked) -> named.Seen:
    """What a class draws for a config, whatever the seed: of several draws it is seen once."""
    config = copy.deepcopy(asked.config)  # some classes change theirs
    kind = asked.model_class
    return named.seen(lambda: refusable(lambda: kind(config), kind))


def _fill(model: PreTrainedModel, seed: int) -> None:
    """Draw what its class leaves at zero: nothing would pass there, and all behind it were dead.

    Gates, projections, positions and norms that add one: as other weights are. Biases stay, but
    those of routers, without which the same experts are chosen. Code books, which training fills:
    small ones, for the nearest of codes that are longer than what is looked up is the shortest
    code, whatever the input.
    """
    import torch

    fill = functools.partial(_normal, seed)
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


def _normal(seed: int, name: str, tensor: torch.Tensor, std: float) -> None:
    import torch

    numbers = std * chance.normal(tensor.numel(), seed, name, "filled")
    tensor.copy_(torch.from_numpy(numbers.reshape(tensor.shape)))


def widen(model: PreTrainedModel, seed: int, wide: float) -> None:
    """Draw a model's head `wide` / sqrt(width) wide, where it is not its embedding, too: a class
    whose config says no deviation (RWKV, xLSTM) leaves it as torch draws layers, so narrow that
    the best token is hardly better than the next."""
    import torch

    head = getattr(model.get_output_embeddings(), "weight", None)
    tied = any(isinstance(m, torch.nn.Embedding) and m.weight is head for m in model.modules())
    for name, parameter in model.named_parameters():
        if head is not None and parameter is head and not tied:
            with torch.no_grad():
                _normal(seed, name, parameter, wide / parameter.shape[-1] ** 0.5)


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


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model says to prompts that the check does not use. share: the part of its greedy
    continuations that differ, or of its codes; 0 where all are alike. margin: of the best token
    before the next. loss: of one batch, in parts of the loss of a guess; None where there is none.
    finite: whether its outputs are, in the numbers that it is saved in."""

    share: float
    margin: float
    loss: float | None
    finite: bool = True

    def enough(self) -> bool:
        """Whether four other prompts will hardly be continued alike."""
        return self.share >= ENOUGH

    def usual(self) -> bool:
        """Whether the loss is such as training starts with."""
        return self.loss is None or 1 / USUAL <= self.loss <= USUAL

    def roomy(self) -> bool:
        """Whether other prompts will hardly have less than the margin that is asked for."""
        return self.margin >= ROOM * inputs.MARGIN

    def rank(self) -> tuple[bool, bool, bool, bool, float]:
        """Of the spreads of a draw the one with the highest is best: a margin is asked for, a loss
        is not."""
        told = self.share if self.margin >= inputs.MARGIN else 0.0
        return self.finite, told >= HALF, self.roomy(), self.usual(), told

    def best(self) -> bool:
        """Whether no other spread need be tried."""
        return self.finite and self.usual() and self.roomy() and self.share >= ENOUGH


def finite(model: PreTrainedModel, made: Batch, seed: int) -> bool:
    """Whether a model's outputs are finite as it is saved: float16 ends at 65,504, and a draw that
    makes up for a small factor of the logits is wide. Other numbers go far enough."""
    import torch

    batch = made() if model.dtype is torch.float16 else None
    if batch is None:
        return True
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        try:
            found = inputs.tensors(model(**batch))
        except Exception:  # noqa: BLE001 - the check `forward` finds a model that does not run
            return True
    return all(bool(value.isfinite().all()) for value in found.values())


def said(model: PreTrainedModel, made: Batch, seed: int) -> Said | None:
    """None where a model has neither continuations nor codes to compare."""
    import torch

    batch = made()
    if batch is None:
        return None
    if not model.can_generate():
        return _coded(model, batch, seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        given = inputs.tensors(model(**batch))
    continued = inputs.continued(model, [*_batches(model, batch, seed)], seed)
    if not continued.parts:
        return None
    count, prompts, margin = inputs.verdict(continued, given.get("logits"))
    rows = getattr(heads.text_part(model.config), "vocab_size", None) or 0
    guess = math.log(rows) if rows > 1 else math.inf
    loss = given.get("loss")
    return Said(
        share=count / prompts if count > 1 else 0.0,
        margin=margin,
        loss=float(loss) / guess if loss is not None and loss.numel() == 1 else None,
    )


def _batches(
    model: PreTrainedModel, batch: Mapping[str, torch.Tensor], seed: int
) -> Iterator[dict[str, torch.Tensor]]:
    """What a draw is tried on: a batch, and others like it with all that they hold drawn anew."""
    yield dict(batch)
    for number in range(1, TRIED):
        other = dict(batch)
        for modality in inputs.covered(model, batch):
            other = inputs.varied(model, other, modality, seed + number)
        yield other


def _coded(model: PreTrainedModel, batch: Mapping[str, torch.Tensor], seed: int) -> Said | None:
    """Of a model that makes codes: the part of other inputs whose codes are other ones. The nearest
    entry of a code book may be one for all that a draw's encoder makes."""
    import torch

    found: list[list[torch.Tensor]] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for given in _batches(model, batch, seed):
            torch.manual_seed(seed)
            try:
                outputs = model(**given)
            except Exception:  # noqa: BLE001 - the check `forward` finds a model that does not run
                return None
            told = outputs.values() if isinstance(outputs, Mapping) else ()
            whole = (one for one in told if isinstance(one, torch.Tensor) and one.dim() > 1)
            found.append([one for one in whole if not one.is_floating_point()])
            if not found[0]:
                return None
    unlike = [any(map(_differ, codes, found[0])) for codes in found[1:]]
    return Said(share=sum(unlike) / len(unlike), margin=math.inf, loss=None)


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape != other.shape or bool((one != other).any())
