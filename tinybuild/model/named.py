"""Weights are drawn by name: the class's distribution, numbers of the seed and the name alone.

A class makes its model twice. The first time it is watched: which random numbers end in which
tensor. The second time each draw that ends in a tensor is ours. Neither the order in which a class
makes its tensors, nor what else it makes, nor the machine changes a number.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tinybuild.portable import chance
from tinybuild.portable.arithmetic import calling, in_float64, random, targets, tensors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

ModuleT = TypeVar("ModuleT", bound="Module")
Arguments = tuple[Any, ...]
Options = dict[str, Any]
# A draw of random numbers in the order of creation: the operator, and the shape of what it gives.
Drawn = tuple[str, tuple[int, ...]]


def names(model: Module) -> dict[int, str]:
    """What each tensor's memory is called: the first name, in alphabetical order, of all it has."""
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    found: dict[int, str] = {}
    for name, tensor in sorted(named, key=lambda item: item[0]):
        found.setdefault(_memory(tensor), name)
    return found


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


@dataclass(frozen=True)
class Watched:
    """What random numbers a class draws, and in which memory they end: as they are, or in what is
    computed of them. `kept`: that memory, so that nothing else gets its address."""

    draws: list[Drawn] = field(default_factory=list)
    ends: dict[int, frozenset[int]] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)

    def call(self, func: Any, args: Arguments, kwargs: Options) -> Any:
        given = [*tensors(args), *tensors(kwargs)]
        here = targets(func, args, kwargs)
        sources = frozenset().union(*(self._of(t) for t in given if all(t is not h for h in here)))
        known = {_memory(tensor) for tensor in given}
        made = func(*args, **kwargs)
        if random(func):
            sources |= {len(self.draws)}
            self.draws.append(_drawn(func, made))
        for tensor in here:
            whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
            anew = whole and (random(func) or func.overloadpacket.__name__ in ANEW)
            self._end(tensor, sources if anew else sources | self._of(tensor))
        for tensor in tensors(made):
            if _memory(tensor) not in known:
                self._end(tensor, sources)
        return made

    def _of(self, tensor: Tensor) -> frozenset[int]:
        return self.ends.get(_memory(tensor), frozenset())

    def _end(self, tensor: Tensor, sources: frozenset[int]) -> None:
        if sources and _memory(tensor):
            self.kept.append(tensor.untyped_storage())
            self.ends[_memory(tensor)] = sources
        else:
            self.ends.pop(_memory(tensor), None)

    def keys(self, model: Module) -> dict[int, tuple[str, int]]:
        """For each draw that ends in a tensor of the model: the tensor's name, and which of the
        draws that end there it is. The first name where it ends in several."""
        called: dict[int, str] = {}
        for memory, name in names(model).items():
            for number in self.ends.get(memory, ()):
                called[number] = min(name, called.get(number, name))
        counts = Counter[str]()
        keys = {}
        for number, name in sorted(called.items()):
            keys[number] = (name, counts[name])
            counts[name] += 1
        return keys


# Operators that write all of a tensor, whatever it held.
ANEW = ("copy_", "zero_", "fill_")


def _drawn(func: Any, made: Any) -> Drawn:
    return str(func), tuple(tensors(made)[0].shape)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The same draws again: those that end in a tensor with numbers of its name (`keys`), and
    whatever is computed in float64. `bounds`: those of a truncated draw that is being made."""

    seed: int
    draws: Sequence[Drawn]
    keys: Mapping[int, tuple[str, int]]
    bounds: Sequence[tuple[float, float]]
    done: list[Drawn] = field(default_factory=list)

    def call(self, func: Any, args: Arguments, kwargs: Options) -> Any:
        if not random(func):
            return in_float64(func, args, kwargs)
        inside = bool(targets(func, args, kwargs))
        made = args[0] if inside else func(*args, **kwargs)
        number = len(self.done)
        self.done.append(_drawn(func, made))
        assert self.done[number] == self.draws[number], "a class draws otherwise the second time"
        key = self.keys.get(number)
        if key is None:  # it ends nowhere: something else is written over it
            return func(*args, **kwargs) if inside else made
        asked = _asked(func, args, kwargs)
        numbers = self._numbers(func, made.numel(), asked, key)
        if numbers is None:
            return self._theirs(func, args, kwargs, key)
        return made.copy_(numbers.reshape(made.shape))

    def _numbers(
        self, func: Any, size: int, asked: Mapping[str, Any], key: tuple[str, int]
    ) -> Tensor | None:
        """Ours, in float64; None for distributions that no weights are known to have."""
        import torch

        kind = func.overloadpacket.__name__.removesuffix("_").removesuffix("_like")
        if kind in ("rand", "uniform"):
            low, high = asked.get("from", 0.0), asked.get("to", 1.0)
            share = chance.uniform(size, self.seed, *key)
            return torch.from_numpy(low + (high - low) * share)
        mean, std = asked.get("mean", 0.0), asked.get("std", 1.0)
        plain = isinstance(mean, float | int) and isinstance(std, float | int)
        if kind not in ("randn", "normal") or not plain:
            return None
        low, high = self.bounds[-1] if self.bounds and std else (-math.inf, math.inf)
        within = {"low": (low - mean) / (std or 1.0), "high": (high - mean) / (std or 1.0)}
        return torch.from_numpy(mean + std * chance.normal(size, self.seed, *key, **within))

    def _theirs(self, func: Any, args: Arguments, kwargs: Options, key: tuple[str, int]) -> Any:
        """Torch's own numbers, seeded by the name."""
        import torch

        torch.manual_seed(int(chance.bits(1, self.seed, *key)[0] >> 1))
        return func(*args, **kwargs)


def _asked(func: Any, args: Arguments, kwargs: Options) -> dict[str, Any]:
    """An operator's arguments by their names, those that are given."""
    named = [argument.name for argument in func._schema.arguments]
    return {**dict(zip(named, args, strict=False)), **kwargs}


@contextlib.contextmanager
def _truncating() -> Iterator[list[tuple[float, float]]]:
    """torch's truncated normal numbers are one draw, whose bounds stand in the list: torch draws
    again, as often as numbers happen to be outside."""
    import torch

    bounds: list[tuple[float, float]] = []

    def truncated(
        tensor: Tensor, mean: float, std: float, *limits: float, generator: object
    ) -> Tensor:
        bounds.append((limits[0], limits[1]))
        try:
            with torch.no_grad():
                return tensor.normal_(mean, std)
        finally:
            bounds.pop()

    torch.nn.init._no_grad_trunc_normal_, before = truncated, torch.nn.init._no_grad_trunc_normal_
    try:
        yield bounds
    finally:
        torch.nn.init._no_grad_trunc_normal_ = before


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen when a class made its model: its draws, and those that end in a tensor."""

    draws: Sequence[Drawn]
    keys: Mapping[int, tuple[str, int]]


def seen(make: Callable[[], Module]) -> Seen:
    """What `make` draws: the same whatever the numbers are."""
    import torch

    with torch.random.fork_rng(devices=[]), _truncating():
        torch.manual_seed(0)
        watched = Watched()
        with calling(watched.call):
            model = make()
        return Seen(draws=watched.draws, keys=watched.keys(model))


def drawn(make: Callable[[], ModuleT], seed: int, known: Seen) -> ModuleT:
    """What `make` makes, of which is known what it draws, with random numbers by name."""
    import torch

    with torch.random.fork_rng(devices=[]), _truncating() as bounds:
        torch.manual_seed(seed)
        drawing = Drawing(seed=seed, draws=known.draws, keys=known.keys, bounds=bounds)
        with calling(drawing.call):
            return make()
