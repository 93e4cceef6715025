"""A processor as its files describe it: whole, or the parts of it that can be loaded here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard
from unittest import mock

from tinybuild.errors import first_line
from tinybuild.keys import PROCESSORS
from tinybuild.paths import Data, Json, whole

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, FeatureExtractionMixin, ProcessorMixin

    Part: TypeAlias = BaseImageProcessor | FeatureExtractionMixin

Change: TypeAlias = Callable[[str, dict[str, Json]], dict[str, Json]]
# Keys that name the class of a part, and the part's place in a processor.
TYPES: Mapping[str, str] = {
    "image_processor_type": "image_processor",
    "video_processor_type": "video_processor",
    "feature_extractor_type": "feature_extractor",
}


def load(folder: Path, *, whole: bool) -> tuple[Any, str]:
    """What AutoProcessor makes of a folder, and why something is not there ("" if nothing is).

    Where whole is false (there is no tokenizer), or a part of it needs a package that is not
    installed, an object that has the other parts: image_processor, feature_extractor. None where
    none of them can be loaded.
    """
    from transformers import AutoProcessor

    note = "" if whole else "without a tokenizer the parts were tried by themselves"
    made = [(node, key, part(node)) for node, key in nodes(folder)]
    if whole:
        note = lacking(folder)
        if not note:
            try:
                with mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
                    return AutoProcessor.from_pretrained(folder, trust_remote_code=False), ""
            except OSError as error:
                wants = "wants files that are not in the bundle"
                note = f"{_named(folder)} {wants}: {first_line(error)}"
            except ImportError as error:
                note = f"{_named(folder)}: {first_line(error)}"
    places: dict[str, Part] = {}
    for _, _, loaded in made:
        if loaded is not None:
            places.setdefault(_place(loaded), loaded)
    return (SimpleNamespace(**places) if places else None), note


def lacking(folder: Path) -> str:
    """Which classes of a folder's processor files cannot be had here; "" if all can."""
    names = [str(node.get(key)) for node, key in nodes(folder) if part(node) is None]
    names += [] if _available(folder) else [_named(folder)]
    return f"{', '.join(names)}: not with the packages that are installed here" if names else ""


def nodes(folder: Path) -> list[tuple[Data, str]]:
    """(mapping, the key that names its class) of each part that a folder's processor files have.

    Old files name no class, which is then the model type's.
    """
    parts = []
    for name, data in _files(folder).items():
        named = [(node, key) for node in walk(data) for key in TYPES if key in node]
        if not named and name != "processor_config.json":
            named = _implied(folder, data)
        parts += named
    return parts


def _files(folder: Path) -> dict[str, Data]:
    paths = {name: folder / name for name in PROCESSORS}
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in paths.items()
        if path.is_file()
    }


def _implied(folder: Path, node: Data) -> list[tuple[Data, str]]:
    """A mapping that names no class, with the one that its model type is mapped to."""
    from transformers import AutoConfig
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    model = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type
    names = IMAGE_PROCESSOR_MAPPING_NAMES.get(model) or {}
    if "sampling_rate" in node or not names:
        key, name = "feature_extractor_type", FEATURE_EXTRACTOR_MAPPING_NAMES.get(model)
    else:
        key = "image_processor_type"
        name = names.get("torchvision") or str(names.get("pil") or "").removesuffix("Pil")
    return [({**node, key: name}, key)] if name else []


def complete(folder: Path, data: dict[str, Json]) -> dict[str, Json]:
    """A processor file with the settings of its class where it has none of its own: what a class
    takes by default must fit a smaller model, too. (Cohere's transcriber names a class alone.)"""
    if data.keys() - {"processor_class", "auto_map"}:
        return data
    made = next(iter(map(part, (node for node, _ in _implied(folder, data)))), None)
    return {**json.loads(made.to_json_string()), **data} if made is not None else data


def _inner(value: Json, name: str) -> TypeGuard[Data]:
    """Whether a value is the mapping of a part."""
    return isinstance(value, Mapping) and name.endswith(("processor", "extractor"))


def walk(data: Data) -> list[Data]:
    """A processor file's mapping and those of its parts."""
    parts = [walk(value) for name, value in data.items() if _inner(value, name)]
    return [data, *(node for nodes in parts for node in nodes)]


def changed(data: Data, change: Change, part: str = "") -> dict[str, Json]:
    """The same file with `change` (of a part's name and mapping) made to it, the parts first."""
    return change(
        part,
        {n: changed(value, change, n) if _inner(value, n) else value for n, value in data.items()},
    )


def class_of(node: Data) -> type[Part] | None:
    """The class of a part; None where it is unknown or needs a package that is not installed.

    An image processor that is made with torchvision has a sibling that needs Pillow alone.
    """
    import transformers

    name = next((str(node[key]) for key in TYPES if key in node), "").removesuffix("Fast")
    image = name.replace("FeatureExtractor", "ImageProcessor")  # as they were called before
    for candidate in (name, f"{name}Pil", image, f"{image}Pil"):
        known: type[Part] | None = getattr(transformers, candidate, None)
        if known is not None and not getattr(known, "is_dummy", False):
            return known
    return None


def _place(loaded: Part) -> str:
    """The name of the part of a processor that an object is: image_processor of ImageProcessor."""
    name = type(loaded).__name__
    places = (place for place in TYPES.values() if place.replace("_", "") in name.lower())
    return next(places, "feature_extractor")


def part(node: Data) -> Part | None:
    """The image processor, video processor or feature extractor that a mapping describes; None
    where its class is not there."""
    known = class_of(node)
    if known is None:
        return None
    try:
        return known(**{key: value for key, value in node.items() if key not in TYPES})
    except ImportError:
        return None


def _class(folder: Path) -> type[ProcessorMixin] | None:
    """The processor class that a folder names, or that its config's type is mapped to; or None."""
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import (
        PROCESSOR_MAPPING_NAMES,
        processor_class_from_name,
    )

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    names = [data.get("processor_class") for data in _files(folder).values()]
    names.append(PROCESSOR_MAPPING_NAMES.get(config.model_type))
    name = next((name for name in names if name), None)
    return processor_class_from_name(name) if name is not None else None


def _named(folder: Path) -> str:
    return str(getattr(_class(folder), "__name__", ""))


def _available(folder: Path) -> bool:
    """Whether every part that the processor class wants is told of, and no package is lacking."""
    known = _class(folder)
    if known is None:
        return True
    if getattr(known, "is_dummy", False):
        return False
    there = {TYPES[key] for _, key in nodes(folder)}
    there |= {"audio_processor"} if "feature_extractor" in there else set()
    wanted = {*TYPES.values(), "audio_processor"} & {*known.get_attributes()}
    return wanted <= there


def placeholder(processor: ProcessorMixin, name: str) -> int | None:
    """The id that a processor repeats for the features of an image, video or sound; or None.

    (Gemma's image_token is what stands in the text; it is replaced by its tokenizer's.)
    """
    for holder in (processor.tokenizer, processor):
        number = getattr(holder, f"{name}_token_id", None)
        if whole(number):
            return number
    token = getattr(processor, f"{name}_token", None)
    if token is None:
        return None
    number = processor.tokenizer.convert_tokens_to_ids(str(getattr(token, "content", token)))
    return int(number) if number is not None else None
