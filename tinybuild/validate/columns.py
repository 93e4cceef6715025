"""What a dataset's columns hold for a model: texts, messages, pairs, labels, images and sounds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tinybuild.features import content, fields, items

if TYPE_CHECKING:
    import numpy
    from datasets import Features
    from datasets.features.features import FeatureType
    from numpy.typing import NDArray
    from PIL.Image import Image

LABELS = ("label", "labels")  # names of columns of numbers that are taken for labels
TEXT = "text"  # the name of the column that is taken for the text where several could be
MESSAGE = {"role", "content"}  # keys of a message
T = TypeVar("T")
Media = Mapping[str, object]  # a value of an image or a sound: its bytes, not decoded, and its path


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one row holds.

    pieces: the texts and media in their order: an interleaved row has several. images, sounds:
    those among them. pair: source and target. words, tags: a word and a class each. label: a class
    or a number. messages: role and content each.
    """

    pieces: tuple[str | Media, ...] = ()
    images: tuple[Media, ...] = ()
    sounds: tuple[Media, ...] = ()
    pair: tuple[str, str] | None = None
    words: tuple[str, ...] = ()
    tags: tuple[int | None, ...] = ()
    label: float | None = None
    messages: tuple[Mapping[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The texts of the row, joined."""
        return " ".join(piece for piece in self.pieces if isinstance(piece, str))

    def media(self, sense: str) -> tuple[Media, ...]:
        """The images, or (audio) the sounds."""
        return self.images if sense == "image" else self.sounds


class Columns:
    """The columns of a dataset's features by what they can be for a model, in their order.

    A column called `text` is the text where there is one, else the first of strings; two of them
    are a source and its target, as the first two languages of a translation are. A list of strings
    is interleaved with the list of images beside it, or is words where a list of classes is beside
    it. A ClassLabel is the label, else numbers in a column called so.
    """

    def __init__(self, features: Features):
        from datasets import Audio, ClassLabel, Image, Translation, Value

        lists = {name: inner for name, f in features.items() if (inner := items(f)) is not None}

        def of(wanted: type, columns: Mapping[str, FeatureType] = features) -> list[str]:
            return [name for name, feature in columns.items() if isinstance(feature, wanted)]

        def texts(columns: Mapping[str, FeatureType]) -> list[str]:
            return [name for name, feature in columns.items() if content(feature) == "text"]

        strings = texts(features)
        numbers = [name for name in LABELS if name in of(Value) and _is_number(features[name])]
        self.features = features
        self.texts = sorted(strings, key=lambda name: name != TEXT)  # stable: the rest in order
        self.pair = strings[:2] if len(strings) > 1 else []
        self.lists = texts(lists)[:1]
        self.tags = of(ClassLabel, lists)[:1] if self.lists else []
        self.translation = of(Translation)[:1]
        self.messages = [name for name, f in lists.items() if {*fields(f)} >= MESSAGE][:1]
        self.images, self.sounds = of(Image), of(Audio)
        self.image_lists, self.sound_lists = of(Image, lists)[:1], of(Audio, lists)[:1]
        self.labels = (of(ClassLabel) or numbers)[:1]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of text, image and audio that the rows can have."""
        columns = {
            "text": self.texts or self.lists or self.translation or self.messages,
            "image": self.images or self.image_lists,
            "audio": self.sounds or self.sound_lists,
        }
        return tuple(modality for modality, names in columns.items() if names)

    @property
    def classes(self) -> int | None:
        """How many classes the labels have; None where no feature says so."""
        return next(
            (getattr(self.features[name], "num_classes", None) for name in self.labels), None
        )

    @property
    def tag_classes(self) -> int | None:
        """How many classes the words' tags have."""
        return next(
            (getattr(items(self.features[name]), "num_classes", None) for name in self.tags), None
        )

    def sample(self, row: Mapping[str, Any]) -> Sample:
        """What a row holds; what is missing (None) is left out. Media is not decoded."""
        images = [*_there(row[name] for name in self.images)]
        sounds = [*_there(row[name] for name in self.sounds)]
        said = [_message(each) for name in self.messages for each in _there(row[name] or ())]
        spoken = [text for name in self.translation for text in (row[name] or {}).values() if text]
        pieces = [*images, *sounds, *self._interleaved(row), *spoken[:1]]
        pieces += [message["content"] for message in said]
        lines = any(row[name] for name in self.lists)
        if not said and not self.translation and not lines:
            pieces += [row[name] for name in self.texts[:1] if row[name]]
        words, tags = self._tagged(row)
        return Sample(
            pieces=tuple(pieces),
            images=(*images, *_there(v for name in self.image_lists for v in row[name] or ())),
            sounds=(*sounds, *_there(v for name in self.sound_lists for v in row[name] or ())),
            pair=self._pair(row, spoken),
            words=words,
            tags=tags,
            label=self._label(row),
            messages=tuple(said),
        )

    def _interleaved(self, row: Mapping[str, Any]) -> Iterator[str | Media]:
        """The items of the lists side by side: the first of each, then the second ..."""
        if not self.tags:
            lists = (*self.image_lists, *self.sound_lists, *self.lists)
            for place in zip_longest(*(row[name] or () for name in lists)):
                yield from _there(place)

    def _pair(self, row: Mapping[str, Any], spoken: Sequence[str]) -> tuple[str, str] | None:
        if self.translation:
            return (spoken[0], spoken[1]) if len(spoken) > 1 else None
        both = [row[name] for name in self.pair]
        return (both[0], both[1]) if both and all(both) else None

    def _tagged(self, row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
        for name in self.tags:
            words = tuple(word or "" for word in row[self.lists[0]] or ())
            return words, tuple(None if tag == -1 else tag for tag in row[name] or ())
        return (), ()

    def _label(self, row: Mapping[str, Any]) -> float | None:
        label: float | None = next((row[name] for name in self.labels), None)
        # -1 is how datasets writes that there is none.
        return None if label == -1 and self.classes is not None else label


def _there(values: Iterable[T | None]) -> Iterator[T]:
    return (value for value in values if value is not None)


def _message(message: Mapping[str, Any]) -> Mapping[str, str]:
    """A message whose content is a string; of a content in parts, the texts."""
    said = message["content"]
    if isinstance(said, list):
        said = " ".join((part or {}).get("text") or "" for part in said)
    return {"role": message["role"] or "user", "content": said or ""}


def _is_number(feature: FeatureType) -> bool:
    from pyarrow import types

    fits = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(fit(feature.pa_type) for fit in fits)


def image(value: Media) -> Image:
    """The Pillow image of an Image feature's value, decoded. Raises what Pillow does."""
    import PIL.Image

    opened = PIL.Image.open(io.BytesIO(_bytes(value)))
    opened.load()
    return opened


def sound(value: Media) -> tuple[NDArray[numpy.float32], int]:
    """The samples of an Audio feature's value (the mean of its channels), and how many there are a
    second. Raises what soundfile does.

    (datasets decodes with torchcodec, which wants FFmpeg; libsndfile reads all that we write.)
    """
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(_bytes(value)), dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)


def _bytes(value: Media) -> bytes:
    data = value.get("bytes")
    if not isinstance(data, bytes):
        raise ValueError(f"{Path(str(value.get('path') or '?')).name} is not embedded in the rows")
    return data
