"""What timm has in code, said in the config: so the sizes of its architectures shrink by rule.

A config of timm's names an architecture, whose function gives a class of timm its sizes;
`model_args` hands it others.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinybuild.keys import CLASSES, GIVEN, OF_TIMM, TOLD, is_config, measures, says
from tinybuild.named import KEY
from tinybuild.paths import Data, Json, Path, mapping, mappings, whole

WRAPPER = "timm_wrapper"
PASSED = (CLASSES, "pretrained")  # what transformers hands to timm itself
CHANNELS, IMAGE, COUNTED = "in_chans", "img_size", "num_features"
DRAWING = ("normal_", "uniform_", "erfinv_", "mul_", "add_", "clamp_", "fill_", "zero_")
LARGER = 1.3  # times as large, at least, with twice of what makes a model large


def typed(data: Data) -> bool:
    """Whether a config without a type is one of timm's, as transformers tells it."""
    return "model_type" not in data and TOLD in data and isinstance(data.get(OF_TIMM), str)


def places(data: Data) -> Iterator[tuple[Path, str]]:
    """The names that are a folder's or a repository's (local-dir:, hf-hub:), which timm would open
    or ask for."""
    named = [((*path, OF_TIMM), node[OF_TIMM]) for path, node in _wrapped(data)]
    named += [((*path, KEY), node.get(KEY)) for path, node in mappings(data, is_config)]
    for path, name in named:
        if isinstance(name, str) and ":" in name:
            yield path, name


def written(data: Data) -> Iterator[tuple[Path, Json, str]]:
    """What a config of timm's is to say instead, by path, and why: the sizes that its architecture
    has in code, for its class.

    Where they are fixed there, timm's own smallest architecture of the same class. Nothing without
    the package: the class then says that it is missing.
    """
    for path, node in _wrapped(data):
        name, given = str(node[OF_TIMM]), mapping(node, (GIVEN,))
        sizes = _sizes(name)
        if sizes is None:
            continue
        told = _values(sizes)
        if _fixed(sizes):
            other = _smallest(name)
            if other:
                why = f"rule timm: the sizes of {name} are fixed in code; the smallest of its class"
                yield (*path, OF_TIMM), other, why
                told = _values(_sizes(other) or {})
            told = {IMAGE: told[IMAGE]} if IMAGE in told else {}
        if COUNTED in node:
            yield (*path, COUNTED), None, "rule timm: its architecture counts them"
        if not path and node.get(CLASSES) == 0 and "architectures" not in node:
            yield ("architectures",), ["TimmWrapperModel"], "rule timm: there are no labels"
        made = {key: value for key, value in {**told, **given}.items() if key not in PASSED}
        if made != given:
            yield (*path, GIVEN), made, f"rule timm: what {name} is in code"


def _wrapped(data: Data) -> Iterator[tuple[Path, Data]]:
    """The parts that are timm's: also those of a type of their own, as Gemma 3n's tower."""
    for path, node in mappings(data, is_config):
        of_timm = node.get("model_type") == WRAPPER or GIVEN in node or TOLD in node
        if of_timm and isinstance(node.get(OF_TIMM), str):
            yield path, node


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size of an architecture. grown: how many times as large a model of twice as much is."""

    value: Json
    grown: float


def _values(sizes: Mapping[str, Size]) -> dict[str, Json]:
    return {key: size.value for key, size in sizes.items()}


@functools.cache
def _sizes(name: str) -> Mapping[str, Size] | None:
    """The whole numbers, and lists of them, that an architecture gives its class and that others
    can be given for. None where timm is not here or does not know it."""
    try:
        import timm
    except (ImportError, RuntimeError):  # torchvision of another build raises the latter
        return None
    if not timm.is_model(name):
        return None
    given = {key: value for key, value in _given(name).items() if key not in (*PASSED, CHANNELS)}
    return {
        key: Size(value=[*value] if isinstance(value, list | tuple) else value, grown=grown)
        for key, value in given.items()
        if _is_size(value) and (grown := _grown(name, key, value))
    }


def _given(name: str) -> dict[str, Any]:
    """What an architecture's class is made with: its defaults, and what the architecture says."""
    kind, seen = type(_made(name)), list[inspect.BoundArguments]()
    original = kind.__init__

    def told(self: object, *values: Any, **named: Any) -> None:
        seen.append(inspect.signature(original).bind(self, *values, **named))
        original(self, *values, **named)

    kind.__init__ = told
    try:
        _made(name)
    finally:
        kind.__init__ = original
    bound = seen[0]
    bound.apply_defaults()
    given = dict(bound.arguments)
    return {**given, **given.pop("kwargs", {})}


def _made(name: str, **given: Any) -> Any:
    """A model without memory, and without drawing its weights: on meta that takes three times as
    long as making it."""
    import timm
    import torch
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):  # type: ignore[misc]  # torch has no types for it
        def __torch_function__(
            self, function: Any, types: Any, values: Any = (), named: Any = None
        ) -> Any:
            if values and function.__name__ in DRAWING and values[0].is_meta:
                return values[0]
            return function(*values, **(named or {}))

    with torch.device("meta"), Undrawn():
        return timm.create_model(name, **given)


def _is_size(value: object) -> bool:
    several = [*value] if isinstance(value, list | tuple) else [value]
    return bool(several) and all(whole(one) and one > 1 for one in several)


@functools.cache
def _parameters(name: str) -> Mapping[str, Any]:
    return dict(_made(name).named_parameters())


def _count(parameters: Mapping[str, Any]) -> int:
    return sum(one.numel() for one in parameters.values())


def _grown(name: str, key: str, value: Any) -> float:
    """How many times as large a model of twice as much is; 0 where there is none, or one with other
    modules: an architecture fixes some arguments, others are for some kinds of blocks only, and
    ResNet 18 has a shortcut more where its first stage is not as wide as its stem."""
    more = 2 * value if whole(value) else [2 * one for one in value]
    with contextlib.suppress(Exception):  # a class of timm's says no in many ways
        made = dict(_made(name, **{key: more}).named_parameters())
        if _deep(key) or made.keys() == _parameters(name).keys():
            return _count(made) / _count(_parameters(name))
    return 0


def _deep(key: str) -> bool:
    return measures(key) == "depth" or says(key, "blocks by stage")


def _fixed(sizes: Mapping[str, Size]) -> bool:
    """Whether no width can be given: nothing that most of the parameters come from."""
    return all(size.grown < LARGER for key, size in sizes.items() if not _deep(key))


def _smallest(name: str) -> str | None:
    """timm's own test architecture of the same class."""
    import timm

    kind = type(_made(name))
    tests = [other for other in timm.list_models("test_*") if type(_made(other)) is kind]
    tests.sort(key=lambda other: not name.startswith(other.removeprefix("test_")))
    return next(iter(tests), None) if name not in tests else None
