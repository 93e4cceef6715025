"""A smaller processor: image, video and sound processors that fit a smaller config."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import BuildFault
from tinybuild.feeding.processor import features, parts
from tinybuild.feeding.processor.geometry import VISION, Geometry, find
from tinybuild.feeding.processor.rules import shrink
from tinybuild.files import pretty
from tinybuild.keys import PROCESSORS

TEMPLATE = "chat_template.json"  # a processor's own; chat_template.jinja is the tokenizer's
COUNTS = ("image_seq_length", "image_seq_len", "num_image_tokens")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """{file name: JSON data} of a folder's processor files. Raises BuildFault for what is none."""
    found = {}
    for name in PROCESSORS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise BuildFault.of(f"the source's {name} is not a JSON object", key=("source",))
        found[name] = data
    return found


def fit(
    files: Mapping[str, dict[str, Any]],
    source: Mapping[str, Any],
    tiny: Mapping[str, Any],
    model: Any,
) -> dict[str, dict[str, Any]]:
    """Processor files in line with a tiny model: its config's geometry, and the features it makes.

    source, tiny: the configs before and after, as JSON trees.
    """
    made = {name: shrink(data, source, tiny) for name, data in files.items()}
    for data in made.values():
        for node in parts.walk(data):
            if "feature_extractor_type" in node:
                _underived(node)
    _count(made, tiny, model)
    return made


def write(files: Mapping[str, dict[str, Any]], folder: Path, out: Path) -> None:
    """Write processor files into `out`, and carry the chat template of the source's processor."""
    for name, data in files.items():
        (out / name).write_text(pretty(data), encoding="utf-8")
    template = folder / TEMPLATE
    if files and template.is_file():
        (out / TEMPLATE).write_bytes(template.read_bytes())


def classes(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The classes that processor files name, sorted."""
    keys = {*parts.TYPES, "processor_class"}
    nodes = [node for data in files.values() for node in parts.walk(data)]
    return sorted({str(node[key]) for node in nodes for key in keys & node.keys()})


def _underived(node: dict[str, Any]) -> None:
    """Leave out what the class of a feature extractor computes from the rest.

    (n_samples, nb_max_frames and mel_filters of Whisper's: arguments of no constructor.)
    """
    found = parts.kind(node)
    if found is None or not found.__name__.endswith("FeatureExtractor"):
        return  # image processors were called so too, and take what they are given
    takes = {name for kind in found.__mro__ for name in inspect.signature(kind.__init__).parameters}
    always = {*parts.TYPES, "processor_class", "return_attention_mask", "padding_side"}
    loaded = parts.part(node)
    for name in [key for key in node if key not in takes | always]:
        if hasattr(loaded, name) and isinstance(node[name], int | float | list):
            del node[name]


def _count(made: Mapping[str, dict[str, Any]], tiny: Mapping[str, Any], model: Any) -> None:
    """Settings that count tokens: what the model makes of a sample image."""
    wanted = [
        (node, name)
        for data in made.values()
        for node in parts.walk(data)
        for name in (*COUNTS, "num_additional_image_tokens")
        if name in node
    ]
    if not wanted:
        return
    now = Geometry.of(tiny)
    channels = find(tiny, ("num_channels", "in_channels"), VISION)
    channels = channels if isinstance(channels, int) else 3
    each: int | None
    more = features.extra(model, now.side, now.patch, channels) if now.patch is not None else None
    if any(name == "image_newline" for name, _ in _parameters(model)):
        # Tiles come as one, with ends of lines: of one tile there is what the tower makes of it.
        sizes = zip(now.side, now.patch or now.side, strict=True)
        each = math.prod(side // patch for side, patch in sizes)
    else:
        each = _each(made, now, channels, model)
    for node, name in wanted:
        found = each if name in COUNTS else more
        if found is not None:
            node[name] = found


def _parameters(model: Any) -> Iterator[tuple[str, Any]]:
    """(last part of its name, parameter) of a model's parameters."""
    for name, parameter in model.named_parameters():
        yield name.rpartition(".")[2], parameter


def _each(
    made: Mapping[str, dict[str, Any]], now: Geometry, channels: int, model: Any
) -> int | None:
    """Features that the model makes of one image, or of each part that it is cut in."""
    import torch

    nodes = [n for data in made.values() for n in parts.walk(data) if "image_processor_type" in n]
    loaded = parts.part(nodes[0]) if nodes else None
    if loaded is not None:
        inputs = dict(loaded(images=[features.image()], return_tensors="pt"))
    else:
        inputs = {"pixel_values": torch.zeros((1, channels, *now.side))}
    inputs = features.cast(model, inputs)
    try:
        found = features.rows(model, "image", inputs)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError):
        return None  # the sample is not what it takes; processor_feeds_model will say what is wrong
    return found // features.tiles(inputs) if found is not None else None
