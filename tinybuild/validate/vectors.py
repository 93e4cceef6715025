"""What a port is held to: the folder expected/ of a bundle, made from a model as loaded.

Everything is computed in float32, each operation in float64 and rounded, as what a report measures
(`portable.arithmetic`), and told in steps of 2**-16 of the largest number: the same numbers on any
CPU. How far rounding moves an output is measured by rounding what each operation gives to bfloat16,
and told as a power of two.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tinybuild import wire
from tinybuild.bundle import EXPECTED
from tinybuild.expected.format import FILE, NEVER, TENSORS, Case, Greedy, Output, Told
from tinybuild.feeding.inputs import NEW_TOKENS, Continued, covered, tensors
from tinybuild.files import pretty
from tinybuild.portable.arithmetic import calling, each, exactly, in_float64, written

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel

    from tinybuild.expected.format import Array

    Batch = Mapping[str, Any]
    Outputs = Mapping[str, Tensor]

LARGE = 8192  # numbers of an argument; of a larger one the first PERIOD are repeated
PERIOD = 4093  # a prime: no two rows or patches are alike
PLACES, ROWS, TOP = 64, 32, 4  # of an output: numbers, places of choices, choices of each
BITS = 16  # that a number keeps, of the largest of its output
OPTIONS = ("min_new_tokens", "suppress_tokens")  # of a continuation, beside its inputs
LEAST, UNKNOWN = 2**-8, 2**-5  # noise: of one rounding, and where none was measured
_TRACE = re.compile(r"(^|[._])hidden_states(\.\d+)+$")
_FIRST = re.compile(r"(encoder|image|vision|audio|video)_")


def is_short(batch: Batch) -> bool:
    """Whether a batch is kept as it is."""
    long = list[bool]()
    each(dict(batch), lambda t: long.append(t.is_floating_point() and t.numel() > LARGE))
    return not any(long)


@dataclass(frozen=True)
class Forward:
    """What a forward gave: its inputs, its outputs in the order of comparison, whether it drew."""

    given: Batch
    outputs: Outputs
    drawn: bool


def repeated(batch: Batch) -> dict[str, Any]:
    """A batch whose large arguments of real numbers are short ones repeated: they are to be kept
    beside a tiny model."""

    def short(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.numel() <= LARGE:
            return tensor
        flat = tensor.reshape(-1)[:PERIOD]
        return flat.repeat(-(-tensor.numel() // PERIOD))[: tensor.numel()].reshape(tensor.shape)

    return {name: each(value, short) for name, value in batch.items()}


def forward(
    model: PreTrainedModel,
    batch: Batch,
    seed: int,
    arithmetic: Callable[[], AbstractContextManager[None]] = exactly,
) -> Forward:
    """The outputs for a batch, and the hidden states on the way where the class tells them."""
    import torch

    takes = inspect.signature(model.forward).parameters
    told = "output_hidden_states" in takes or any(
        one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values()
    )
    ways = [{"output_hidden_states": True}, {}] if told else [{}]
    while True:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), arithmetic():
                torch.manual_seed(seed)
                before = torch.get_rng_state()
                made = tensors(model(**batch, **ways[0]))
                drawn = not torch.equal(before, torch.get_rng_state())
            return Forward(batch, dict(sorted(made.items(), key=_order)), drawn)
        except (TypeError, ValueError):
            if len(ways) == 1:
                raise
            del ways[0]


def _order(item: tuple[str, Tensor]) -> int:
    """Hidden states on the way come first, those of encoders before all; the loss last."""
    name = item[0]
    if _TRACE.search(name):
        return 0 if _FIRST.match(name) else 2
    return 1 if _FIRST.match(name) else 4 if name == "loss" else 3


def rounded(model: PreTrainedModel, batch: Batch, seed: int) -> Outputs:
    """The same, where what each operation gives is rounded to bfloat16 as well."""
    return forward(model, batch, seed, functools.partial(calling, _rounding)).outputs


def _rounding(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import torch

    def short(tensor: Tensor) -> Tensor:
        return tensor.bfloat16().float() if tensor.dtype is torch.float32 else tensor

    made = in_float64(func, args, kwargs)
    return made if func.is_view or written(func) else each(made, short)


class Vectors:
    """The two files, case by case."""

    def __init__(self, class_: str, seed: int):
        self.class_, self.seed = class_, seed
        self.cases = list[Case]()
        self.tensors = dict[str, "Array"]()
        self._known = dict[tuple[str, tuple[int, ...], bytes], str]()

    def add(
        self,
        name: str,
        model: PreTrainedModel,
        made: Forward,
        coarse: Outputs,
        went: Continued | None = None,
    ) -> None:
        """A case: what a model in float32 made of a batch, the same rounded, and how it went on."""
        outputs = [
            self._output(f"{name}/outputs/{key}", key, tensor, _noise(tensor, coarse, key))
            for key, tensor in made.outputs.items()
        ]
        self.cases.append(
            Case(
                name=name,
                modalities=covered(model, made.given),
                inputs=self.kept(name, made.given),
                outputs=tuple(outputs),
                drawn=made.drawn,
                greedy=self._greedy(name, went) if went is not None and went.parts else None,
            )
        )

    def kept(self, case: str, given: Batch) -> dict[str, object]:
        """What the JSON file says of arguments; their tensors are kept once."""
        return {name: self._kept(f"{case}/inputs/{name}", value) for name, value in given.items()}

    def _kept(self, key: str, value: Any) -> object:
        import torch

        if isinstance(value, torch.Tensor):
            return self._argument(key, value.detach())
        if isinstance(value, Mapping):
            return {"mapping": {n: self._kept(f"{key}.{n}", v) for n, v in value.items()}}
        if isinstance(value, list | tuple):
            return {"list": [self._kept(f"{key}.{n}", v) for n, v in enumerate(value)]}
        return {"value": value}

    def _argument(self, key: str, tensor: Tensor) -> dict[str, object]:
        import numpy as np

        array = (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()
        if array.size > PLACES and (array == array.reshape(-1)[0]).all():
            told = {"fill": array.reshape(-1)[0].item(), "shape": [*array.shape]}
            return {**told, "dtype": str(array.dtype)}
        more: dict[str, object] = {}
        if array.dtype == np.float32:
            begun = array.reshape(-1)[:PERIOD]
            if array.size > LARGE and (np.resize(begun, array.shape) == array).all():
                more["repeat"], array = [*array.shape], begun
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            array = half if (half.astype(np.float32) == array).all() else array
        same = str(array.dtype), array.shape, array.tobytes()
        name = self._known.setdefault(same, key)
        self.tensors[name] = array
        return {"tensor": name, **more}

    def _output(self, key: str, name: str, tensor: Tensor, noise: float) -> Output:
        import numpy as np

        array: NDArray[np.float64] = tensor.detach().double().numpy()
        step = 2.0 ** (math.frexp(_largest(tensor))[1] - BITS)
        kept: Literal["all", "some", "top"] = "all" if array.size <= PLACES else "some"
        margin = None
        if "logits" in name and 2 <= array.ndim <= 3 and array.shape[-1] > 1:
            kept = "top"
            rows = array.reshape(-1, array.shape[-1])
            at = _evenly(len(rows), ROWS)
            k = min(TOP, rows.shape[-1])
            ids = np.argsort(-rows[at], axis=-1, kind="stable")[:, :k]
            values = _steps(np.take_along_axis(rows[at], ids, axis=-1), step)
            self.tensors[f"{key}/ids"] = ids.astype(np.int32)
            self.tensors[f"{key}/at"] = at
            margin = _told((values[:, 0] - values[:, 1]).min(), 3)
        else:
            at = _evenly(array.size, PLACES) if kept == "some" else np.arange(array.size)
            values = _steps(array.reshape(-1)[at], step)
            if kept == "some":
                self.tensors[f"{key}/at"] = at
            else:
                values = values.reshape(array.shape)
        self.tensors[f"{key}/values"] = values
        return Output(
            name=name,
            shape=tuple(array.shape),
            kept=kept,
            largest=float(f"{_largest(tensor):.3g}"),
            noise=noise,
            step=step,
            trace=bool(_TRACE.search(name)),
            value=_told(values, 8) if array.ndim == 0 else None,
            margin=margin,
        )

    def _greedy(self, case: str, went: Continued) -> Greedy | None:
        """The new tokens (rows, steps) with their logits (steps, rows, ids); None for what is not
        that."""
        asked, (new, logits) = went.asked[0], went.parts[0]
        if new.dim() != 2 or logits.dim() != 3 or logits.shape[:2] != new.shape[::-1]:
            return None
        scores = logits.transpose(0, 1).double()
        best = scores.gather(-1, new[..., None].clamp(min=0, max=scores.shape[-1] - 1))
        # What is above the chosen one was not to be taken: an end that would have come too early.
        below = scores.masked_fill(scores >= best, -NEVER).amax(-1)
        margins = (best[..., 0] - below).tolist()
        options = {k: v for k, v in asked.items() if k in OPTIONS or isinstance(v, bool)}
        given = {key: value for key, value in asked.items() if key not in options}
        options = {key: value for key, value in options.items() if value is not None}
        return Greedy(
            inputs=self.kept(f"{case}/greedy", given),
            options={"max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": 1, **options},
            ids=tuple(tuple(row) for row in new.tolist()),
            margins=tuple(tuple(_told(one, 1) or 0.0 for one in row) for row in margins),
        )

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        told = Told(version=1, class_=self.class_, seed=self.seed, cases=tuple(self.cases))
        place = folder / EXPECTED
        place.mkdir(exist_ok=True)
        (place / FILE).write_text(pretty(wire.dump(told)), encoding="utf-8")
        save_file(self.tensors, place / TENSORS)


def _told(number: Any, digits: int) -> float | None:
    """A number as the JSON file tells it; None for one that is not finite."""
    return float(f"{float(number):.{digits}g}") if math.isfinite(number) else None


def _noise(tensor: Tensor, coarse: Outputs, name: str) -> float:
    """How far rounding moves an output, as a share of its largest number."""
    other = coarse.get(name)
    if other is None or other.shape != tensor.shape:
        return UNKNOWN
    one, other = tensor.double(), other.double()
    told = one.isfinite() & other.isfinite() & (one.abs() < NEVER)
    if not told.any():
        return UNKNOWN
    far = float((one - other)[told].abs().max()) / _largest(tensor)
    return 2.0 ** math.ceil(math.log2(max(far, LEAST)))


def _largest(tensor: Tensor) -> float:
    told = tensor.detach().double().abs()
    told = told[told < NEVER]  # neither a mask's number, nor infinite, nor none
    return max(float(told.max()), 1e-6) if told.numel() else 1e-6


def _steps(array: NDArray[numpy.float64], step: float) -> NDArray[numpy.float32]:
    import numpy as np

    return np.asarray(np.round(array / step) * step, dtype=np.float32)


def _evenly(count: int, most: int) -> Array:
    """Places, from the first on, a little aside of even ones so that no axis is missed."""
    import numpy as np

    if count <= most:
        return np.arange(count, dtype=np.int32)
    starts = np.arange(most) * count // most
    return np.asarray(starts + np.arange(most) * 7919 % (count // most), dtype=np.int32)
