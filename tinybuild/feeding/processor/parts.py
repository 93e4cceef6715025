"""A processor as its files describe it: whole, or the parts of it that can be loaded here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tinybuild.keys import PROCESSORS

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
    if whole:
        lacking = [str(node.get(key)) for node, key in nodes(folder) if part(node) is None]
        lacking += [] if _available(folder) else [_named(folder)]
        note = f"{', '.join(lacking)}: not with the packages that are installed here"
        if not lacking:
            try:
                with mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
                    return AutoProcessor.from_pretrained(folder, trust_remote_code=False), ""
            except OSError as error:
                first = str(error).strip().splitlines()[0]
                note = f"{_named(folder)} wants files that are not in the bundle: {first}"
            except ImportError as error:
                note = f"{_named(folder)}: {str(error).strip().splitlines()[0]}"
    found: dict[str, Any] = {}
    for node, _ in nodes(folder):
        made = part(node)
        if made is not None:
            found.setdefault(_place(made), made)
    return (SimpleNamespace(**found) if found else None), note


def nodes(folder: Path) -> list[tuple[Mapping[str, Any], str]]:
    """(mapping, the key that names its class) of each part that a folder's processor files have.

    Old files name no class, which is then the model type's.
    """
    found = []
    for name in PROCESSORS:
        path = folder / name
        if not path.is_file():
            continue
        inner = walk(json.loads(path.read_text(encoding="utf-8")))
        named = [(node, key) for node in inner for key in TYPES if key in node]
        if not named and name != "processor_config.json":
            named = _implied(folder, inner[0])
        found += named
    return found


def _implied(folder: Path, node: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """A mapping that names no class, with the one that its model type is mapped to."""
    from transformers import AutoConfig
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    model = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type
    if "sampling_rate" in node:
        key, name = "feature_extractor_type", FEATURE_EXTRACTOR_MAPPING_NAMES.get(model)
    else:
        key, names = "image_processor_type", IMAGE_PROCESSOR_MAPPING_NAMES.get(model) or {}
        name = names.get("torchvision") or str(names.get("pil") or "").removesuffix("Pil")
    return [({**node, key: name}, key)] if name else []


def walk(data: Mapping[str, Any]) -> list[Any]:
    """A processor file's mapping and those of its parts."""
    found: list[Any] = [data]
    for name, value in data.items():
        if isinstance(value, Mapping) and name.endswith(("processor", "extractor")):
            found += walk(value)
    return found


def kind(node: Mapping[str, Any]) -> Any | None:
    """The class of a part; None where it is unknown or needs a package that is not installed.

    An image processor that is made with torchvision has a sibling that needs Pillow alone.
    """
    import transformers

    name = next((str(node[key]) for key in TYPES if key in node), "")
    name = name.removesuffix("Fast")
    image = name.replace("FeatureExtractor", "ImageProcessor")  # as they were called before
    for candidate in (name, f"{name}Pil", image, f"{image}Pil"):
        found = getattr(transformers, candidate, None)
        if found is not None and not getattr(found, "is_dummy", False):
            return found
    return None


def _place(made: Any) -> str:
    """The name of the part of a processor that an object is."""
    return next(
        (place for place in TYPES.values() if _suffix(place) in type(made).__name__),
        "feature_extractor",
    )


def _suffix(place: str) -> str:
    """ImageProcessor of image_processor."""
    return "".join(word.capitalize() for word in place.split("_"))


def part(node: Mapping[str, Any]) -> Any | None:
    """The image processor, video processor or feature extractor that a mapping describes; None
    where its class is not there."""
    found = kind(node)
    if found is None:
        return None
    try:
        return found(**{key: value for key, value in node.items() if key not in TYPES})
    except ImportError:
        return None


def _class(folder: Path) -> Any:
    """The processor class that a folder names, or that its config's type is mapped to; or None."""
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import (
        PROCESSOR_MAPPING_NAMES,
        processor_class_from_name,
    )

    names = [
        data["processor_class"]
        for name in PROCESSORS
        if (folder / name).is_file()
        and "processor_class" in (data := json.loads((folder / name).read_text(encoding="utf-8")))
    ]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    names.append(PROCESSOR_MAPPING_NAMES.get(config.model_type))
    name = next((name for name in names if name), None)
    return processor_class_from_name(name) if name is not None else None


def _named(folder: Path) -> str:
    return str(_class(folder).__name__)


def _available(folder: Path) -> bool:
    """Whether every part that the processor class wants is told of, and no package is lacking."""
    found = _class(folder)
    if found is None:
        return True
    if getattr(found, "is_dummy", False):
        return False
    there = {TYPES[key] for _, key in nodes(folder)}
    there |= {"audio_processor"} if "feature_extractor" in there else set()
    wanted = {*TYPES.values(), "audio_processor"} & {*found.get_attributes()}
    return wanted <= there


def placeholder(whole: Any, name: str) -> int | None:
    """The id that a processor repeats for the features of an image, video or sound; or None.

    (Gemma's image_token is what stands in the text; it is replaced by its tokenizer's.)
    """
    for holder in (whole.tokenizer, whole):
        number = getattr(holder, f"{name}_token_id", None)
        if isinstance(number, int):
            return number
    token = getattr(whole, f"{name}_token", None)
    if token is None:
        return None
    number = whole.tokenizer.convert_tokens_to_ids(str(getattr(token, "content", token)))
    return int(number) if number is not None else None
