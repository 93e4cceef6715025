"""What torch computes in float32, computed in float64 and rounded: the same on every machine.

How a CPU sums and which logarithm it has decides the last bits of a float32, and hardly ever those
of a float64 that is rounded to one.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# What runs in place of an operator of torch, with its arguments.
Call: TypeAlias = "Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]"
# Operators that compute nothing: memory of any content, constants and copies.
PLAIN = (
    *("empty", "new_", "zero", "ones", "full", "fill", "clone", "copy", "detach", "lift_fresh"),
    "_to_copy",
)


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """Every operator of torch is called by `call`, its own inside it."""
    with _mode()(call):
        yield


@functools.cache
def _mode() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[misc]
        def __init__(self, call: Call) -> None:
            super().__init__()
            self.call = call

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # nothing is compiled here, and keeping it from that takes a third longer

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return self.call(func, args, kwargs or {})

    return Mode


def exactly() -> contextlib.AbstractContextManager[None]:
    """Every operator of torch computes in float64, and rounds to the dtype that it gives."""
    return calling(in_float64)


def products(kind: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Where numbers are shorter than float32, products of matrices are computed in float32 and
    rounded once, as processors do that know such numbers: others take ten times as long, forward
    and backward. All else is computed as it is."""
    import torch

    short = kind in (torch.bfloat16, torch.float16)
    return _products()(kind) if short else contextlib.nullcontext()


@functools.cache
def _products() -> Any:
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    functions = {
        *(functional.linear, functional.scaled_dot_product_attention, torch.einsum),
        *(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.Tensor.mm),
        *(torch.bmm, torch.Tensor.bmm, torch.addmm, torch.baddbmm),
        *(functional.conv1d, functional.conv2d, functional.conv3d),
        *(functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d),
    }

    class Mode(TorchFunctionMode):  # type: ignore[misc]
        def __init__(self, kind: torch.dtype) -> None:
            super().__init__()
            self.kind = kind

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            options = kwargs or {}
            if func not in functions:
                return func(*args, **options)
            given = tensors((args, options))
            if {one.dtype for one in given if one.is_floating_point()} != {self.kind}:
                return func(*args, **options)  # of several dtypes torch makes no product
            made = func(*each(args, _float), **each(options, _float))
            return made.to(self.kind)

    return Mode


def _float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def in_float64(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operator of torch gives, computed in float64.

    An operator that takes no float64 computes as it does.
    """

    if _plain(func):
        return func(*args, **kwargs)
    if written(func):
        return _in_place(func, args, kwargs)
    if not _named(func):
        found = set[Any]()
        wide = [_widened(value, found) for value in args]
        more = {name: _widened(value, found) for name, value in kwargs.items()}
        if len(found) == 1 and not found.isdisjoint(_wider()):
            return _once(func, wide, more, found.pop(), (args, kwargs))
    given = func(*args, **kwargs)
    kinds = [tensor.dtype for tensor in tensors(given)]
    if not any(kind in _wider() for kind in kinds):
        return given
    options = {**each(kwargs, _wide), **_dtype(func, args, kwargs)}
    try:
        made = func(*each(args, _wide), **options)
    except (RuntimeError, NotImplementedError):
        return given
    left = iter(kinds)
    return each(made, lambda tensor: tensor.to(next(left)))


def _widened(value: Any, kinds: set[Any]) -> Any:
    """An argument of an operator with each tensor widened; `kinds` grows by the dtypes of real and
    complex numbers in it."""
    if type(value) in _LEAVES:  # most of them
        return value
    if isinstance(value, _tensor()):
        kind = value.dtype
        if kind.is_floating_point or kind.is_complex:
            kinds.add(kind)
        wider = _wider().get(kind)
        return value if wider is None else value.to(wider)
    if isinstance(value, list | tuple):
        return type(value)([_widened(item, kinds) for item in value])
    return value


def _once(
    func: Any, wide: list[Any], more: dict[str, Any], kind: Any, narrow: tuple[Any, Any]
) -> Any:
    """What an operator of one dtype gives: it is called in float64 alone, or with the arguments as
    they are (`narrow`) where it takes no float64."""
    import torch

    try:
        made = func(*wide, **more)
    except (RuntimeError, NotImplementedError):
        return func(*narrow[0], **narrow[1])
    real = torch.float32 if kind.is_complex else kind

    def back(tensor: Tensor) -> Tensor:
        if tensor.dtype is torch.float64:
            return tensor.to(real)
        return tensor.to(torch.complex64) if tensor.dtype is torch.complex128 else tensor

    return each(made, back)


@functools.cache
def _named(func: Any) -> bool:
    """Whether an operator takes the dtype that it gives."""
    return any(argument.name == "dtype" for argument in func._schema.arguments)


@functools.cache
def _plain(func: Any) -> bool:
    """Whether an operator computes nothing, or draws."""
    import torch

    view = func.is_view or torch.Tag.inplace_view in func.tags
    return view or func.overloadpacket.__name__.startswith(PLAIN) or random(func)


@functools.cache
def random(func: Any) -> bool:
    """Whether an operator of torch draws random numbers."""
    import torch

    return torch.Tag.nondeterministic_seeded in func.tags


def _in_place(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same of an operator that writes to its arguments, and gives these or nothing."""
    here = targets(func, args, kwargs)
    if not any(tensor.dtype in _wider() for tensor in here) or len(func._schema.returns) > len(
        here
    ):
        return func(*args, **kwargs)
    copies, more = each(args, _wide), each(kwargs, _wide)
    try:
        func(*copies, **more)
    except (RuntimeError, NotImplementedError):
        return func(*args, **kwargs)
    for tensor, copy in zip(here, targets(func, copies, more), strict=True):
        if tensor is not copy:
            tensor.copy_(copy)
    if not func._schema.returns:
        return None
    return here[0] if len(func._schema.returns) == 1 else tuple(here)


def _dtype(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The wider dtype where one is asked for, or the usual one is meant."""
    wanted = kwargs.get("dtype")
    if wanted in _wider():
        return {"dtype": _wider()[wanted]}
    made = _named(func) and wanted is None and not [*tensors(args), *tensors(kwargs)]
    return {"dtype": _wider()[_usual()]} if made else {}


def _usual() -> Any:
    import torch

    return torch.get_default_dtype()


@functools.cache
def _wider() -> dict[Any, Any]:
    import torch

    real = dict.fromkeys((torch.float32, torch.bfloat16, torch.float16), torch.float64)
    return {**real, torch.complex64: torch.complex128}


def _wide(tensor: Tensor) -> Tensor:
    wider = _wider().get(tensor.dtype)
    return tensor if wider is None else tensor.to(wider)


@functools.cache
def written(func: Any) -> tuple[tuple[int, str], ...]:
    """The arguments that an operator writes to: place and name."""
    places = enumerate(func._schema.arguments)
    return tuple((n, a.name) for n, a in places if a.alias_info and a.alias_info.is_write)


def targets(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operator writes to, of its arguments."""
    places = written(func)
    given = [args[n] if n < len(args) else kwargs.get(name) for n, name in places]
    return tensors(given)


def tensors(value: object) -> list[Tensor]:
    """All tensors in an operator's arguments or answer, in their order."""
    found: list[Tensor] = []
    each(value, found.append)
    return found


def each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """An operator's arguments or answer with each tensor changed."""
    kind = type(value)
    if kind in _LEAVES:  # most arguments
        return value
    if isinstance(value, _tensor()):
        return change(value)
    if isinstance(value, dict):
        return {name: each(item, change) for name, item in value.items()} if value else value
    if isinstance(value, list | tuple):
        return kind([each(item, change) for item in value])
    return value


def of_dtype(given: Mapping[str, Any], kind: torch.dtype) -> dict[str, Any]:
    """Arguments whose floating-point tensors, also in lists and mappings, have a dtype."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(kind) if tensor.is_floating_point() else tensor

    return {name: each(value, cast) for name, value in given.items()}


_LEAVES = frozenset((int, float, bool, str, type(None)))


@functools.cache
def _tensor() -> Any:
    import torch

    return torch.Tensor
