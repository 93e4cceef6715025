"""What a dataset's columns hold for a model: texts, messages, pairs, labels, images and sounds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS = ("label", "labels")  # names of columns of numbers that are taken for labels
TEXT = "text"  # the name of the column that is taken for the text where several could be
ROLES = {"role", "content"}  # keys of a message


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one row holds.

    pieces: the texts (str) and media (values with their bytes, not decoded) in their order: an
    interleaved row has several. images, sounds: those among them. pair: source and target. words,
    tags: a word and a class each. label: a class or a number. messages: role and content each.
    """

    pieces: tuple[Any, ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()
    sounds: tuple[Mapping[str, Any], ...] = ()
    pair: tuple[str, str] | None = None
    words: tuple[str, ...] = ()
    tags: tuple[int | None, ...] = ()
    label: float | None = None
    messages: tuple[Mapping[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The texts of the row, joined."""
        return " ".join(piece for piece in self.pieces if isinstance(piece, str))


class Columns:
    """The columns of a dataset's features by what they can be for a model, in their order.

    A column called `text` is the text where there is one, else the first of strings; two of them
    are a source and its target, as the first two languages of a translation are. A list of strings
    is interleaved with the list of images beside it, or is words where a list of classes is beside
    it. A ClassLabel is the label, else numbers in a column called so.
    """

    def __init__(self, features: Any):
        from datasets import Audio, ClassLabel, Image, Translation, Value
        from pyarrow import types

        def of(*kinds: Any, listed: bool = False) -> list[str]:
            return [
                name
                for name, feature in features.items()
                if isinstance(_inner(feature) if listed else feature, kinds)
                and (not listed or _inner(feature) is not feature)
            ]

        def text(feature: Any) -> bool:
            texts = ("string", "large_string", "string_view")
            return isinstance(feature, Value) and feature.dtype in texts

        def number(feature: Any) -> bool:
            kind = feature.pa_type
            fits = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
            return any(fit(kind) for fit in fits)

        def messages(feature: Any) -> bool:
            inner = _inner(feature)
            return isinstance(inner, Mapping) and inner is not feature and inner.keys() >= ROLES

        strings = [name for name in of(Value) if text(features[name])]
        self.features = features
        self.texts = sorted(strings, key=lambda name: name != TEXT)  # stable: the rest in order
        self.pair = strings[:2] if len(strings) > 1 else []
        self.lists = [name for name in of(Value, listed=True) if text(_inner(features[name]))][:1]
        self.tags = of(ClassLabel, listed=True)[:1] if self.lists else []
        self.translation = of(Translation)[:1]
        self.messages = [name for name, feature in features.items() if messages(feature)][:1]
        self.images, self.sounds = of(Image), of(Audio)
        self.image_lists, self.sound_lists = of(Image, listed=True)[:1], of(Audio, listed=True)[:1]
        numbers = [name for name in LABELS if name in of(Value) and number(features[name])]
        self.labels = (of(ClassLabel) or numbers)[:1]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those of text, image and audio that the rows can have."""
        words = self.texts or self.lists or self.translation or self.messages
        found = {
            "text": words,
            "image": self.images or self.image_lists,
            "audio": self.sounds or self.sound_lists,
        }
        return tuple(kind for kind, names in found.items() if names)

    @property
    def classes(self) -> int | None:
        """How many classes the labels have; None where no feature says so."""
        return self._classes(self.labels)

    @property
    def tag_classes(self) -> int | None:
        """How many classes the words' tags have."""
        return self._classes(self.tags)

    def _classes(self, names: Sequence[str]) -> int | None:
        found = [_inner(self.features[name]) for name in names]
        return getattr(found[0], "num_classes", None) if found else None

    def sample(self, row: Mapping[str, Any]) -> Sample:
        """What a row holds; what is missing (None) is left out. Media is not decoded."""
        images = [row[name] for name in self.images if row[name] is not None]
        sounds = [row[name] for name in self.sounds if row[name] is not None]
        pieces: list[Any] = [*images, *sounds]
        listed = [(row[name] or []) for name in (*self.image_lists, *self.sound_lists, *self.lists)]
        if not self.tags:
            for place in range(max(map(len, listed), default=0)):
                pieces += [
                    values[place]
                    for values in listed
                    if place < len(values) and values[place] is not None
                ]
        images += [v for name in self.image_lists for v in row[name] or [] if v is not None]
        sounds += [v for name in self.sound_lists for v in row[name] or [] if v is not None]
        pair: tuple[str, str] | None = None
        for name in self.translation:
            spoken = [text for text in (row[name] or {}).values() if text]
            pieces += spoken[:1]
            pair = (spoken[0], spoken[1]) if len(spoken) > 1 else None
        if not self.translation and self.pair and all(row[name] for name in self.pair):
            pair = (row[self.pair[0]], row[self.pair[1]])
        found = [message for name in self.messages for message in row[name] or []]
        said = [_message(message) for message in found if message is not None]
        pieces += [message["content"] for message in said]
        if not said and not self.translation and not (self.lists and listed and listed[-1]):
            pieces += [row[name] for name in self.texts[:1] if row[name]]
        words: tuple[str, ...] = ()
        tags: tuple[int | None, ...] = ()
        for name in self.tags:
            words = tuple(word or "" for word in row[self.lists[0]] or ())
            tags = tuple(None if tag == -1 else tag for tag in row[name] or ())
        label = next((row[name] for name in self.labels), None)
        if label == -1 and self.classes is not None:
            label = None  # how datasets writes that there is none
        return Sample(
            pieces=tuple(pieces),
            images=tuple(images),
            sounds=tuple(sounds),
            pair=pair,
            words=words,
            tags=tags,
            label=label,
            messages=tuple(said),
        )


def _message(message: Mapping[str, Any]) -> Mapping[str, str]:
    """A message whose content is a string; of a content in parts, the texts."""
    content = message["content"]
    if isinstance(content, list):
        content = " ".join((part or {}).get("text") or "" for part in content)
    return {"role": message["role"] or "user", "content": content or ""}


def _inner(feature: Any) -> Any:
    """The feature of a list's items; any other feature as it is."""
    from datasets import LargeList, List

    if isinstance(feature, list):
        return feature[0]
    return feature.feature if isinstance(feature, List | LargeList) else feature


def media(features: Any) -> list[tuple[str, Any]]:
    """(name of the column, feature) of each image and sound, at any depth."""
    from datasets import Audio, Image

    found: list[tuple[str, Any]] = []

    def walk(name: str, feature: Any) -> None:
        if isinstance(feature, Image | Audio):
            found.append((name, feature))
        elif isinstance(feature, Mapping):
            for key in feature:
                walk(name, feature[key])
        elif _inner(feature) is not feature:
            walk(name, _inner(feature))

    for name, feature in features.items():
        walk(name, feature)
    return found


def values(value: Any, feature: Any, wanted: Any) -> Iterator[Any]:
    """The values of one of `media`'s features inside a column's value; None is left out."""
    if value is None:
        return
    if feature is wanted:
        yield value
    elif isinstance(feature, Mapping):
        for key in feature:
            yield from values(value[key], feature[key], wanted)
    elif _inner(feature) is not feature:
        for item in value:
            yield from values(item, _inner(feature), wanted)


def image(value: Mapping[str, Any]) -> Any:
    """The Pillow image of an Image feature's value, decoded. Raises what Pillow does."""
    import PIL.Image

    found = PIL.Image.open(io.BytesIO(_bytes(value)))
    found.load()
    return found


def sound(value: Mapping[str, Any]) -> tuple[Any, int]:
    """The samples of an Audio feature's value (float32, the mean of its channels), and how many
    there are a second. Raises what soundfile does.

    (datasets decodes with torchcodec, which wants FFmpeg; libsndfile reads all that we write.)
    """
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(_bytes(value)), dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)


def _bytes(value: Mapping[str, Any]) -> bytes:
    data = value.get("bytes")
    if data is None:
        raise ValueError(f"{Path(value.get('path') or '?').name} is not embedded in the rows")
    return bytes(data)
