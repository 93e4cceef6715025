"""A smaller processor: image, video and sound processors that fit a smaller config."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild.feeding import Model
from tinybuild.feeding.processor import features, parts
from tinybuild.feeding.processor.geometry import Geometry, find
from tinybuild.feeding.processor.rules import shrink
from tinybuild.files import json_object, pretty
from tinybuild.keys import NAMES, PROCESSORS
from tinybuild.paths import Data, Json, whole

Files = Mapping[str, Data]  # file name -> JSON data
PLAIN = "preprocessor_config.json"  # of the one part that a processor without others has
TEMPLATE = "chat_template.json"  # a processor's own; chat_template.jinja is the tokenizer's
COUNTS = ("image_seq_length", "image_seq_len", "num_image_tokens")
MORE = "num_additional_image_tokens"


def read(folder: Path) -> dict[str, dict[str, Json]]:
    """A folder's processor files. Raises BuildFault for one that is not a JSON object."""
    files = {}
    for name in PROCESSORS:
        path = folder / name
        if not path.is_file():
            continue
        data = json_object(path, f"the source's {name}")
        files[name] = parts.complete(folder, data) if name == PLAIN else data
    return files


def fit(files: Files, source: Data, tiny: Data, model: Model) -> dict[str, dict[str, Json]]:
    """Processor files in line with a tiny model: its config's geometry, and the features it makes.

    source, tiny: the configs before and after, as JSON trees.
    """
    made = {name: shrink(data, source, tiny) for name, data in files.items()}
    made = {name: parts.changed(data, _underived) for name, data in made.items()}
    counts = _counts([node for data in made.values() for node in parts.walk(data)], tiny, model)

    def counted(part: str, node: dict[str, Json]) -> dict[str, Json]:
        return {name: counts.get(name, value) for name, value in node.items()}

    made = {name: parts.changed(data, counted) for name, data in made.items()}
    return {name: _squared(data, tiny, model) for name, data in made.items()}


def _squared(data: dict[str, Json], tiny: Data, model: Model) -> dict[str, Json]:
    """A processor whose class writes patch_size ** 2 placeholders for each tile: its image
    processor's patch_size is how many of them stand along a side (Cohere 2's)."""
    from transformers.models.auto.processing_auto import processor_class_from_name

    known = processor_class_from_name(str(data.get("processor_class")))
    images = data.get("image_processor")
    if known is None or not isinstance(images, Mapping) or "patch_size" not in images:
        return data
    if "self.patch_size**2" not in inspect.getsource(known):
        return data
    each = _each([images], (3, *Geometry.of(tiny).side), model)
    return {**data, "image_processor": {**images, "patch_size": math.isqrt(each)}} if each else data


def write(files: Files, folder: Path, out: Path) -> None:
    """Write processor files into `out`, and carry the chat template of the source's processor."""
    for name, data in files.items():
        (out / name).write_text(pretty(data), encoding="utf-8")
    template = folder / TEMPLATE
    if files and template.is_file():
        (out / TEMPLATE).write_bytes(template.read_bytes())


def classes(files: Files) -> list[str]:
    """The classes that processor files name, sorted."""
    keys = {*parts.TYPES, "processor_class"}
    nodes = [node for data in files.values() for node in parts.walk(data)]
    return sorted({str(node[key]) for node in nodes for key in keys & node.keys()})


def _underived(part: str, node: dict[str, Json]) -> dict[str, Json]:
    """Without what the class of a feature extractor computes from the rest.

    (n_samples, nb_max_frames and mel_filters of Whisper's: arguments of no constructor. Granite
    Speech's melspec_kwargs are of its n_mels and others, which it reads beside them.)
    """
    made = parts.class_of(node) if "feature_extractor_type" in node else None
    if made is None or not made.__name__.endswith("FeatureExtractor"):
        return node  # image processors were called so too, and take what they are given
    bases: tuple[Any, ...] = made.__mro__
    takes = {name for base in bases for name in inspect.signature(base.__init__).parameters}
    takes |= {*parts.TYPES, "processor_class", "return_attention_mask", "padding_side"}
    loaded = parts.part(node)
    inner = {
        name: {key: item for key, item in value.items() if key in takes}
        for name, value in node.items()
        if name not in takes and isinstance(value, Mapping)
    }
    given = {key: item for settings in inner.values() for key, item in settings.items()}
    return given | {
        name: value
        for name, value in node.items()
        if not inner.get(name)
        and (
            name in takes or not hasattr(loaded, name) or not isinstance(value, int | float | list)
        )
    }


def _counts(nodes: list[Data], tiny: Data, model: Model) -> dict[str, int]:
    """The settings that count tokens, by name: what the model makes of a sample image."""
    names = {name for node in nodes for name in node}
    now, channels = Geometry.of(tiny), find(tiny, NAMES["image channels"], "image")
    shape = (channels if whole(channels) else 3, *now.side)
    each: int | None = None
    more: int | None = None
    if any(name.split(".")[-1] == "image_newline" for name, _ in model.named_parameters()):
        # Tiles come as one, with ends of lines: of one tile there is what the tower makes of it.
        sizes = zip(now.side, now.patch or now.side, strict=True)
        each = math.prod(side // patch for side, patch in sizes)
    elif names & {*COUNTS}:
        each = _each(nodes, shape, model)
    if MORE in names and now.patch is not None:
        more = features.extra(model, shape, now.patch)
        if find(tiny, ("vision_feature_select_strategy",), "image") is None:
            # The class chooses among the tower's rows itself (VipLlava takes none but patches).
            rows = (_each(nodes, shape, model) or 0) - math.prod(
                side // patch for side, patch in zip(now.side, now.patch, strict=True)
            )
            more = rows if 0 <= rows <= (more or 0) else more
    counts = {**dict.fromkeys(COUNTS, each), MORE: more}
    return {name: count for name, count in counts.items() if count is not None}


def _each(nodes: list[Data], shape: tuple[int, int, int], model: Model) -> int | None:
    """Features that the model makes of one image, or of each part that it is cut in.

    shape: of an image where no image processor makes it.
    """
    import torch

    images = [node for node in nodes if "image_processor_type" in node]
    loaded = parts.part(images[0]) if images else None
    if loaded is not None:
        given = dict(loaded(images=[features.image()], return_tensors="pt"))
    else:
        given = {"pixel_values": torch.zeros((1, *shape))}
    given = features.cast(model, given)
    try:
        count = features.rows(model, "image", given)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError):
        return None  # the sample is not what it takes; processor_feeds_model will say what is wrong
    return count // features.tiles(given) if count is not None else None
