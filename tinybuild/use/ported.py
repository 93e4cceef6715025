"""A port, a kernel or an export held to what its bundle expects: `assert_matches_expected`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tinybuild.errors import BuildFault
from tinybuild.expected import compare, format
from tinybuild.expected.compare import Divergence
from tinybuild.expected.format import Case, Expected, Greedy

if TYPE_CHECKING:
    import torch

    from tinybuild.use.loaded import Bundle

Inputs: TypeAlias = "Mapping[str, Any]"  # argument of forward -> array
Port: TypeAlias = "Callable[[Inputs], Mapping[str, Any]]"
Continue: TypeAlias = "Callable[[Inputs, Mapping[str, Any]], Sequence[Sequence[int]]]"
DTYPES = tuple(compare.SHARES)
_STATES = {"output_hidden_states": True}


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What was held to a bundle, and how. compared: CASE/OUTPUT. left: what was not, and why. ties:
    where a choice differs that nearly had the same score as the expected one."""

    dtype: str
    compared: tuple[str, ...]
    left: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"{len(self.compared)} outputs match in {self.dtype}"]
        told += [f"not compared: {one}" for one in self.left]
        return "\n".join([*told, *(f"near tie: {one}" for one in self.ties)])


def assert_matches_expected(
    port: torch.nn.Module | Port,
    bundle: str | os.PathLike[str] | Bundle,
    *,
    dtype: str = "",
    generate: Continue | None = None,
) -> Matched:
    """Hold a port to a bundle's expected outputs. Raises Divergence, an AssertionError, at the
    first place that differs.

    port: a module of torch, called with the arguments of forward; or anything else that takes a
    mapping of numpy arrays, and gives one of arrays by the names of outputs. It must give one of
    them at least; what it does not give is told in `left`.
    bundle: its folder, or a copy of the folder expected/ in it.
    dtype: that the port computes in, float32 where it does not say: how far it may be away.
    generate: takes arguments and options, and gives the new ids of each row; a model of
    transformers has its own.
    """
    expected = format.read(Path(bundle))
    held = _Torch(port) if _is_module(port) else _Plain(port, generate)
    dtype = dtype or held.dtype
    if dtype not in DTYPES:
        raise BuildFault.of(f"{dtype} has no tolerance", hint=f"one of {', '.join(DTYPES)}")
    compared, left, ties = list[str](), list[str](), list[str]()
    for case in expected.cases:
        made = _case(expected, case, held, dtype)
        compared += made.compared
        left += made.left
        ties += made.ties
    if not compared:
        names = ", ".join(one.name for one in expected.cases[0].outputs)
        raise BuildFault.of("nothing was compared", hint=f"give one of the outputs {names}")
    return Matched(dtype=dtype, compared=tuple(compared), left=tuple(left), ties=tuple(ties))


def _case(expected: Expected, case: Case, port: _Torch | _Plain, dtype: str) -> Matched:
    """One case: its outputs in their order, then its greedy ids."""
    if case.drawn and not port.seeded:
        return Matched(dtype=dtype, compared=(), left=(f"{case.name}: forward draws at random",))
    states = any(output.trace for output in case.outputs)
    had = dict(compare.named(port.forward(expected.inputs(case), expected.told.seed, states)))
    known = {output.name for output in case.outputs}
    if not known & {*had}:
        what = f"case {case.name}: the port gives {', '.join(sorted(had)) or 'nothing'}"
        raise BuildFault.of(what, hint=f"outputs are {', '.join(sorted(known))}")
    compared, left, ties = list[str](), list[str](), list[str]()
    for output in case.outputs:
        name = f"{case.name}/{output.name}"
        if output.name not in had:
            left.append(f"{name}: the port does not give it")
        elif compare.tolerance(output, dtype) is None:
            left.append(f"{name}: rounding to {dtype} decides it")
        else:
            ties += compare.held(expected, case, output, had[output.name], dtype).ties
            compared.append(name)
    if case.greedy is not None and compare.nearness(case, dtype) is None:
        left.append(f"{case.name}/greedy: rounding to {dtype} decides it")
    elif case.greedy is not None:
        ids = port.continued(expected.inputs(case.greedy), case.greedy, expected.told.seed)
        if ids is None:
            left.append(f"{case.name}/greedy: the port does not generate")
        else:
            ties += compare.continued(expected, case, ids, dtype).ties
            compared.append(f"{case.name}/greedy")
    return Matched(dtype=dtype, compared=tuple(compared), left=tuple(left), ties=tuple(ties))


class _Plain:
    """A function of arrays."""

    dtype, seeded = "float32", False

    def __init__(self, port: Port, generate: Continue | None):
        self._port, self._generate = port, generate

    def forward(self, inputs: Inputs, seed: int, states: bool) -> object:
        return self._port(inputs)

    def continued(
        self, inputs: Inputs, greedy: Greedy, seed: int
    ) -> Sequence[Sequence[int]] | None:
        return self._generate(inputs, greedy.options) if self._generate is not None else None


class _Torch:
    """A module of torch. One of transformers tells hidden states, and generates."""

    seeded = True

    def __init__(self, module: Any):
        self._module = module
        real = [one for one in module.parameters() if one.is_floating_point()]
        real.sort(key=lambda one: one.element_size())  # some classes keep a part in float32
        self._dtype = real[0].dtype if real else None
        self._device = real[0].device if real else "cpu"
        self.dtype = str(self._dtype).removeprefix("torch.") if real else "float32"

    def forward(self, inputs: Inputs, seed: int, states: bool) -> object:
        given = {name: self._given(value) for name, value in inputs.items()}
        with self._still(seed):
            if states and hasattr(self._module, "config"):
                with contextlib.suppress(TypeError):
                    return self._module(**given, **_STATES)
            return self._module(**given)

    def continued(
        self, inputs: Inputs, greedy: Greedy, seed: int
    ) -> Sequence[Sequence[int]] | None:
        generate = getattr(self._module, "generate", None)
        if generate is None:
            return None
        given = {name: self._given(value) for name, value in inputs.items()}
        with self._still(seed):
            made = generate(**given, **greedy.options, return_dict_in_generate=True)
        new = made.sequences[..., -len(greedy.ids[0]) :]
        return [[int(token) for token in row] for row in new.tolist()]

    @contextlib.contextmanager
    def _still(self, seed: int) -> Iterator[None]:
        """In the mode of use, without gradients; afterwards the module is as it was."""
        import torch

        training = self._module.training
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._module.train(False) if training else None
            try:
                yield
            finally:
                self._module.train(training) if training else None

    def _given(self, value: object) -> object:
        """Arrays as tensors where the module is, of its dtype."""
        import numpy as np
        import torch

        if isinstance(value, np.ndarray):
            tensor = torch.from_numpy(value.copy()).to(self._device)
            return tensor.to(self._dtype) if tensor.is_floating_point() else tensor
        if isinstance(value, Mapping):
            return {name: self._given(one) for name, one in value.items()}
        return [self._given(one) for one in value] if isinstance(value, list) else value


def _is_module(port: object) -> bool:
    """torch is not imported for a port that does without."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(port, torch.nn.Module)


__all__ = ["Divergence", "Matched", "assert_matches_expected"]
