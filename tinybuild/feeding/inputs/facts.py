"""What a model says of itself: its forward's arguments, its config tree, its modules."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tinybuild.keys import mentioned

ROWS = 2
# What sub-configs and modules of a modality are called, as parts of their names.
NEAR: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "llm", "language", "thinker"),
    "image": ("vision", "visual", "vit", "image", "img", "pixel", "backbone", "patch", "vq"),
    "video": ("video", "vision", "visual", "vit", "image", "backbone", "patch"),
    "audio": ("audio", "speech", "acoustic", "encoder", "codec", "sound"),
}


class Facts:
    """`takes` are the parameters of the model's forward; `nodes` its config tree, top first."""

    def __init__(self, model: Any):
        self.model = model
        self.config = model.config
        self.takes: Mapping[str, inspect.Parameter] = {
            name: parameter
            for name, parameter in inspect.signature(model.forward).parameters.items()
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        self.nodes = list(_nodes(self.config, ()))

    def required(self) -> list[str]:
        """The arguments of forward without a default."""
        return [name for name, found in self.takes.items() if found.default is found.empty]

    def find(self, *names: str, near: str = "") -> Any:
        """The first value that is not None of a key with one of these names; None without one.

        Configs of the modality `near` are asked first, then the others from the top down; within a
        config the names are asked in order.
        """
        return next(self.every(*names, near=near), None)

    def every(self, *names: str, near: str = "") -> Iterator[Any]:
        """All such values, in the order of `find`."""
        words = NEAR.get(near, ())
        for wanted in (True, False) if words else (False,):
            for path, node in self.nodes:
                named = any(word in part for part in path for word in words)
                if named != wanted and words:
                    continue
                for name in names:
                    value = getattr(node, name, None)
                    if value is not None and not callable(value):
                        yield value

    def integer(self, *names: str, near: str = "", default: int) -> int:
        """The first such value that is a positive integer."""
        for value in self.every(*names, near=near):
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return default

    def modules(self, *kinds: str, near: str = "") -> Iterator[tuple[str, Any]]:
        """The modules whose class is named one of `kinds`, those of the modality `near` first."""
        words = NEAR.get(near, ())
        found = [
            (name, module)
            for name, module in self.model.named_modules()
            if type(module).__name__ in kinds
        ]
        found.sort(key=lambda item: not any(word in item[0] for word in words))
        yield from found

    def method(self, name: str, argument: str) -> Any:
        """The bound method of that name, of the model or of a module inside; None without one.

        The first that names `argument` among its parameters (outer ones may pass on anything), or
        else the first that says what it takes.
        """
        found = [
            getattr(module, name)
            for module in self.model.modules()
            if getattr(type(module), name, None) is not None
        ]
        taken = [inspect.signature(method).parameters for method in found]
        named = [m for m, parameters in zip(found, taken, strict=True) if argument in parameters]
        said = [m for m, parameters in zip(found, taken, strict=True) if "args" not in parameters]
        return next(iter([*named, *said]), None)

    def special(self) -> set[int]:
        """The ids that the config tree mentions: special tokens and placeholders."""
        data = json.loads(self.config.to_json_string(use_diff=False))
        found = set(mentioned(data, named=False))
        for _, node in self.nodes:
            for name in dir(type(node)):  # aliases such as image_token_id of image_token_index
                if name.endswith(("_token_id", "_token_index")):
                    value = getattr(node, name, None)
                    found |= {value} if isinstance(value, int) else set()
        return found | _listed(data)


def _listed(data: Any) -> set[int]:
    """The ids in tables of tokens (vocabulary_map: token -> id), which stand for images, say."""
    found: set[int] = set()
    for name, value in data.items() if isinstance(data, dict) else ():
        if name.endswith(("vocabulary_map", "vocab_map")) and isinstance(value, dict):
            found |= {number for number in value.values() if isinstance(number, int)}
        else:
            found |= _listed(value)
    return found


def _nodes(config: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    level = [(path, config)]
    while level:
        yield from level
        below = []
        for above, node in level:
            for name, value in vars(node).items():
                if hasattr(value, "to_dict") and hasattr(value, "model_type"):
                    below.append(((*above, name), value))
        level = below
