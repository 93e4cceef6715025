"""A batch given to a model: what its forward makes of it, or how far it came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tinybuild.feeding import Given, Model, Tensor


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`given` and the floating-point outputs by name, or the error in their place.

    far: how far forward came, the number of modules that it had been through.
    """

    far: int
    given: Given = field(default_factory=dict)
    outputs: Given = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def finite(self) -> bool:
        return all(bool(tensor.isfinite().all()) for tensor in self.outputs.values())

    @property
    def loss(self) -> Tensor | None:
        """The loss, where there is one and it is finite."""
        loss = self.outputs.get("loss")
        return loss if loss is not None and bool(loss.isfinite().all()) else None


def attempt(model: Model, given: Given) -> Attempt:
    """Call forward with these arguments."""
    from torch.nn.modules.module import register_module_forward_hook

    passed: list[None] = []
    hook = register_module_forward_hook(lambda *_: passed.append(None))
    try:
        outputs = tensors(model(**given))
    except Exception as error:  # noqa: BLE001  any model may raise anything: the next one is tried
        return Attempt(far=len(passed), error=error)
    finally:
        hook.remove()
    if not outputs:
        nothing = ValueError("forward gives no floating-point tensor")
        return Attempt(far=len(passed), error=nothing)
    return Attempt(far=len(passed), given=given, outputs=outputs)


@contextlib.contextmanager
def quiet(model: Model) -> Iterator[None]:
    """Without gradients or dropout; afterwards the model and torch's numbers are as before."""
    import torch

    training = model.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.eval()
        try:
            yield
        finally:
            model.train(training)


def tensors(outputs: object) -> dict[str, Tensor]:
    """The floating-point tensors of a model's output, name -> tensor; nested ones numbered."""
    return dict(_named("", outputs))


def _named(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _named(f"{name}.{number}", item)
