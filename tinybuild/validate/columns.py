"""What a dataset's columns hold for a model: texts, messages, pairs, labels, images and sounds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tinybuild.features import content, holds, items
from tinybuild.validate import layouts
from tinybuild.validate.layouts import Chat, Media, Piece, Speech

if TYPE_CHECKING:
    import numpy
    from datasets import Features
    from datasets.features.features import FeatureType
    from numpy.typing import NDArray
    from PIL.Image import Image

LABELS = ("label", "labels")  # names of columns of numbers that are taken for labels
TEXT = "text"  # the name of the column that is taken for the text where several could be
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one row holds.

    pieces: the texts and media in their order: an interleaved row has several. images, sounds:
    those among them. prompt, answer: what is given and what is learned after it, texts or chats;
    tools: what may be called there. worse: the row with an answer that this one's is preferred to.
    wanted: whether the answer is a good one. pair: source and target. words, tags: a word and a
    class each. label: a class or a number.
    """

    pieces: tuple[Piece, ...] = ()
    images: tuple[Media, ...] = ()
    sounds: tuple[Media, ...] = ()
    prompt: Speech = ""
    answer: Speech = ""
    tools: tuple[Any, ...] = ()
    worse: Sample | None = None
    wanted: bool | None = None
    pair: tuple[str, str] | None = None
    words: tuple[str, ...] = ()
    tags: tuple[int | None, ...] = ()
    label: float | None = None

    @property
    def text(self) -> str:
        """The texts of the row, joined."""
        return " ".join(piece for piece in self.pieces if isinstance(piece, str))

    @property
    def messages(self) -> Chat:
        """The whole chat of the row; () where it is not one."""
        parts = (part for part in (self.prompt, self.answer) if isinstance(part, tuple))
        return tuple(message for part in parts for message in part)

    def shortened(self, most: int) -> list[Piece]:
        """The pieces with so many characters of text: the first, or the last with an answer."""
        made, left, step = list[Piece](), most, -1 if self.answer else 1
        for piece in self.pieces[::step]:
            if isinstance(piece, str):
                piece = piece[:left] if step > 0 else piece[max(0, len(piece) - left) :]
                left -= len(piece)
            made.append(piece)
        return made[::step]

    def media(self, sense: str) -> tuple[Media, ...]:
        """The images, or (audio) the sounds."""
        return self.images if sense == "image" else self.sounds


class Columns:
    """The columns of a dataset's features by what they can be for a model, in their order.

    A layout that training scripts know (`layouts.LAYOUTS`) comes first, then a chat. Else a column
    called `text` is the text where there is one, else the first of strings; two of them are a
    source and its target, as the first two languages of a translation are. A list of strings is
    interleaved with the list of images beside it, or is words where a list of classes is beside it.
    A ClassLabel is the label, else numbers in a column called so. Some `rows` show what stands in
    columns of JSON.
    """

    def __init__(self, features: Features, rows: Sequence[Mapping[str, Any]] = ()):
        from datasets import Audio, ClassLabel, Image, Translation, Value

        lists = {name: inner for name, f in features.items() if (inner := items(f)) is not None}

        def of(wanted: type, columns: Mapping[str, FeatureType] = features) -> list[str]:
            return [name for name, feature in columns.items() if isinstance(feature, wanted)]

        def texts(columns: Mapping[str, FeatureType]) -> list[str]:
            return [name for name, feature in columns.items() if content(feature) == "text"]

        strings = texts(features)
        numbers = [name for name in LABELS if name in of(Value) and _is_number(features[name])]
        self.features = features
        seen = {name: [layouts.read(row[name], f) for row in rows] for name, f in features.items()}
        chats = [
            name
            for name, feature in features.items()
            if layouts.is_chat(feature) or any(map(layouts.chat, seen[name]))
        ]
        spoken = {*strings, *chats}
        self.layout = next((row for row in layouts.LAYOUTS if row.fits(features, spoken)), None)
        self.messages = chats[:1] if self.layout is None else []
        self.tools = [layouts.TOOLS] if chats and layouts.TOOLS in features else []
        self.texts = sorted(strings, key=lambda name: name != TEXT)  # stable: the rest in order
        self.pair = strings[:2] if len(strings) > 1 else []
        self.lists = texts(lists)[:1]
        self.tags = of(ClassLabel, lists)[:1] if self.lists else []
        self.translation = of(Translation)[:1]
        self.images, self.sounds = of(Image), of(Audio)
        self.image_lists, self.sound_lists = of(Image, lists)[:1], of(Audio, lists)[:1]
        self.labels = (of(ClassLabel) or numbers)[:1]
        self.roles = self._roles(
            [name for name in chats if holds(features[name], lambda f: isinstance(f, Image))],
            [name for name in chats if holds(features[name], lambda f: isinstance(f, Audio))],
        )
        self.format = self._format([value for name in self.messages for value in seen[name]])

    def _roles(self, shown: list[str], heard: list[str]) -> Mapping[str, list[str]]:
        """What of a row goes into a model -> the columns that it is in; `shown` and `heard` are
        chats with images and sounds inside."""
        layout, lists = self.layout, self.lists if not self.tags else []
        said, target = self.translation or self.messages or lists or self.texts[:1], self.pair[1:]
        if layout is not None:
            said = [*(name for name in layout.prompt if name in self.features), layout.answer]
        if layout or self.messages or self.translation:
            target = said
        return {
            "text": [*said, *self.tools],
            "target": target,
            "worse": [layout.worse] if layout and layout.worse else [],
            "wanted": [layout.wanted] if layout and layout.wanted else [],
            "words": self.lists,
            "tags": self.tags,
            "image": [*self.images, *self.image_lists, *shown],
            "audio": [*self.sounds, *self.sound_lists, *heard],
            "label": self.labels,
        }

    def _format(self, chats: Sequence[Any]) -> str:
        """What a training script calls rows of this kind; "" for plain texts."""
        if self.layout is not None:
            return self.layout.name
        said = [message for value in chats for message in value or () if message]
        if self.tools or any("tool_calls" in layouts.bare(message) for message in said):
            return "tool calls"
        turns = any(map(layouts.in_turns, said))
        return "ShareGPT" if turns else "messages" if self.messages else ""

    def used(self, inputs: Sequence[str]) -> list[str]:
        """The columns that some of a row's `roles` are in, in their order."""
        met = {name for role in inputs for name in self.roles[role]}
        return [name for name in self.features if name in met]

    def told(self, inputs: Sequence[str]) -> str:
        """What went into a model in the words of training scripts, and the columns it was in."""
        within = ("text", "target", "worse", "wanted") if self.format else ()
        names = dict.fromkeys(self.format if role in within else role for role in inputs)
        columns = self.used(inputs)
        told = ", ".join(names)
        return told if {*names} == {*columns} else f"{told} ({', '.join(columns)})"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of text, image and audio that the rows can have."""
        words = self.roles["text"] or self.lists
        there = {"text": words, "image": self.roles["image"], "audio": self.roles["audio"]}
        return tuple(modality for modality, names in there.items() if names)

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
        row = {name: layouts.read(value, self.features[name]) for name, value in row.items()}
        words, tags = self._tagged(row)
        plain = Sample(
            tools=tuple(tool for name in self.tools for tool in layouts.tools(row[name])),
            wanted=row.get(self.layout.wanted) if self.layout else None,
            words=words,
            tags=tags,
            label=self._label(row),
        )
        prompt, answer, worse = self._speeches(row)
        made = self._said(plain, row, prompt, answer)
        return replace(made, worse=self._said(plain, row, prompt, worse) if worse else None)

    def _speeches(self, row: Mapping[str, Any]) -> tuple[Speech, Speech, Speech]:
        if self.layout is not None:
            return self.layout.speeches(row)
        chats = [layouts.chat(row[name]) for name in self.messages]
        return "", next(iter(chats), "") or "", ""

    def _said(
        self, plain: Sample, row: Mapping[str, Any], prompt: Speech, answer: Speech
    ) -> Sample:
        """A sample with its texts and media: of a prompt and an answer where the rows have them."""
        found = [*self._plain(row)]
        if self.layout or self.messages:
            found, both = layouts.pieces(layouts.joined(prompt, answer), _media(found))
            if isinstance(both, tuple):
                prompt, answer = both[: len(prompt)], both[len(prompt) :]
        media = _media(found)
        return replace(
            plain,
            pieces=tuple(piece for _, piece in found),
            images=media["image"],
            sounds=media["audio"],
            prompt=prompt,
            answer=answer,
            pair=self._pair(row, prompt, answer),
        )

    def _plain(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Piece]]:
        """(sense, what) of columns of their own, and of lists side by side: the first of each, then
        the second ..."""
        for sense, names in (("image", self.images), ("audio", self.sounds)):
            yield from ((sense, value) for value in _there(row[name] for name in names))
        lists = {"image": self.image_lists, "audio": self.sound_lists}
        lists["text"] = [] if self.tags else self.lists
        senses = [(sense, row[name] or ()) for sense, names in lists.items() for name in names]
        for place in zip_longest(*(values for _, values in senses)):
            for (sense, _), value in zip(senses, place, strict=True):
                yield from ((sense, value) for value in _there([value]))
        if not any(row[name] for name in lists["text"]):
            yield from (("text", text) for text in self._text(row) if text)

    def _text(self, row: Mapping[str, Any]) -> list[str | None]:
        if self.translation:
            return self._spoken(row)[:1]
        return [row[name] for name in self.texts[:1]]

    def _spoken(self, row: Mapping[str, Any]) -> list[str | None]:
        """The languages of a translation, as far as a row has them."""
        return [text for name in self.translation for text in (row[name] or {}).values() if text]

    def _pair(
        self, row: Mapping[str, Any], prompt: Speech, answer: Speech
    ) -> tuple[str, str] | None:
        if self.messages and isinstance(answer, tuple):
            prompt, answer = answer[:-1], answer[-1:]
        both: list[str | None] = [layouts.text(prompt), layouts.text(answer)]
        if not self.layout and not self.messages:
            both = self._spoken(row) if self.translation else [row[name] for name in self.pair]
        there = [text for text in both[:2] if text]
        return (there[0], there[1]) if len(there) > 1 else None

    def _tagged(self, row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
        for name in self.tags:
            words = tuple(word or "" for word in row[self.lists[0]] or ())
            return words, tuple(None if tag == -1 else tag for tag in row[name] or ())
        return (), ()

    def _label(self, row: Mapping[str, Any]) -> float | None:
        label: float | None = next((row[name] for name in self.labels), None)
        # -1 is how datasets writes that there is none.
        return None if label == -1 and self.classes is not None else label


def _media(pieces: Sequence[tuple[str, Piece]]) -> Mapping[str, tuple[Media, ...]]:
    """The images and the sounds among (sense, what)."""
    media = [(sense, value) for sense, value in pieces if not isinstance(value, str)]
    return {sense: tuple(v for s, v in media if s == sense) for sense in ("image", "audio")}


def _there(values: Iterable[T | None]) -> Iterator[T]:
    return (value for value in values if value is not None)


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
