"""What a model says of itself: its forward's arguments, its config tree, its modules."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tinybuild.feeding import Model
from tinybuild.keys import GIVEN, mentioned, of_modality, says
from tinybuild.paths import Json, whole

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Facts:
    """`takes` are the parameters of the model's forward; `nodes` its config tree, top first."""

    model: Model

    @property
    def config(self) -> PretrainedConfig:
        return self.model.config

    @cached_property
    def takes(self) -> Mapping[str, inspect.Parameter]:
        return {
            name: parameter
            for name, parameter in inspect.signature(self.model.forward).parameters.items()
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }

    @cached_property
    def nodes(self) -> list[tuple[tuple[str, ...], PretrainedConfig]]:
        level: list[tuple[tuple[str, ...], PretrainedConfig]] = [((), self.config)]
        nodes = []
        while level:
            nodes += level
            level = [
                ((*path, name), value)
                for path, node in level
                for name, value in vars(node).items()
                if hasattr(value, "to_dict") and hasattr(value, "model_type")
            ]
        return nodes

    def required(self) -> list[str]:
        """The arguments of forward without a default."""
        return [name for name, argument in self.takes.items() if argument.default is argument.empty]

    def find(self, *names: str, near: str = "") -> Any:
        """The first value that is not None of a key with one of these names; None without one.

        Configs of the modality `near` are asked first, then the others from the top down; within a
        config the names are asked in order.
        """
        return next(self.every(*names, near=near), None)

    def every(self, *names: str, near: str = "") -> Iterator[Any]:
        """All such values, in the order of `find`."""
        for _, node in sorted(self.nodes, key=lambda item: not _speaks(near, *item[0])):
            for name in names:
                value = getattr(node, name, None)
                if value is None:
                    value = (getattr(node, GIVEN, None) or {}).get(name)
                if value is not None and not callable(value):
                    yield value

    def numbers(self, *names: str, near: str = "") -> Iterator[int]:
        """Those of them that are whole numbers."""
        return filter(whole, self.every(*names, near=near))

    def integer(self, *names: str, near: str = "", default: int) -> int:
        """The first of them that is a positive integer."""
        return next((n for n in self.numbers(*names, near=near) if n > 0), default)

    def modules(self, *classes: str, near: str = "") -> Iterator[tuple[str, Module]]:
        """The modules whose class has one of these names, those of the modality `near` first."""
        named = ((n, m) for n, m in self.model.named_modules() if type(m).__name__ in classes)
        yield from sorted(named, key=lambda item: not _speaks(near, item[0]))

    def method(self, name: str, argument: str) -> Callable[..., Any] | None:
        """The bound method of that name, of the model or of a module inside; None without one.

        The first that names `argument` among its parameters (outer ones may pass on anything), or
        else the first that says what it takes.
        """
        methods = [
            getattr(module, name)
            for module in self.model.modules()
            if getattr(type(module), name, None) is not None
        ]
        taken = [inspect.signature(method).parameters for method in methods]
        named = [m for m, parameters in zip(methods, taken, strict=True) if argument in parameters]
        said = [m for m, parameters in zip(methods, taken, strict=True) if "args" not in parameters]
        return next(iter([*named, *said]), None)

    @cached_property
    def special(self) -> frozenset[int]:
        """The ids that the config tree mentions: special tokens and placeholders."""
        data = json.loads(self.config.to_json_string(use_diff=False))
        aliases = (  # such as image_token_id of image_token_index
            getattr(node, name, None)
            for _, node in self.nodes
            for name in dir(type(node))
            if name.endswith(("_token_id", "_token_index"))
        )
        ids = {*mentioned(data, named=False), *_listed(data)}
        return frozenset(ids | {value for value in aliases if isinstance(value, int)})


def _speaks(near: str, *names: str) -> bool:
    """Whether one of the names speaks of the modality."""
    return near != "" and any(of_modality(name, near) for name in names)


def _listed(data: Json) -> Iterator[int]:
    """The ids in tables of tokens (vocabulary_map: token -> id), which stand for images, say."""
    for name, value in data.items() if isinstance(data, Mapping) else ():
        if says(name, "table of tokens") and isinstance(value, Mapping):
            yield from filter(whole, value.values())
        else:
            yield from _listed(value)
