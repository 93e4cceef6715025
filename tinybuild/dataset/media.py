"""What is kept of each row: columns, and values made small by one table of changes."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tinybuild import features as walks
from tinybuild.dataset.images import ANY, FORMATS, image
from tinybuild.dataset.rows import Place
from tinybuild.dataset.sounds import sound
from tinybuild.errors import BuildFault, Fault, did_you_mean
from tinybuild.features import Spot, Visit, Wrong

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features
    from datasets.features.features import FeatureType

    from tinybuild import sections

# (the number of a value in an array, what is wrong with it) -> the fault that says where it is.
At = Callable[[int, str], Fault]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A way to change values: an entry of CHANGES, and all that is known of it.

    key: of the dataset section; what the recipe says there is the wish. noun: what messages call a
    value. takes: whether the values of a feature are meant. apply: the array with its values
    changed as the wish says, of the same type; raises what `at` makes, and PackageFault. always:
    it also looks at values, and refuses them, where the recipe has no wish (None), and nothing
    changes. becomes: the feature of changed values, where it is another.
    """

    key: str
    noun: str
    takes: Callable[[FeatureType], bool]
    apply: Callable[[pyarrow.Array, At, Any], pyarrow.Array]
    always: bool = False
    becomes: Callable[[Any, FeatureType], FeatureType | None] = lambda wish, feature: None


def shrink(
    table: pyarrow.Table, features: Features, places: Sequence[Place], wish: Mapping[str, object]
) -> tuple[pyarrow.Table, Features]:
    """The columns that a wish keeps, and their values as CHANGES makes them.

    wish: columns (a list, kept in its order, or {drop: [...]}), and the key of each change. places:
    where each row of the table came from, for messages. Only the values that change are written
    anew, in the Arrow types they had, at any depth of the features; all else is as it was. Media is
    decoded even if no wish changes it: what is broken is told here, by the file and row that it
    comes from.

    Raises BuildFault for unknown columns and for media that is broken, and PackageFault where a
    library is missing.
    """
    table, features = _columns(table, features, wish.get("columns"))
    new = features
    for change in CHANGES:
        step = _Step(change=change, wish=wish.get(change.key), places=places)
        if not step.wish and not change.always:
            continue
        visit = Visit(wanted=change.takes, apply=step.apply)
        for index, (name, feature) in enumerate(features.items()):
            if walks.holds(feature, change.takes):
                column = walks.visited(table.column(index), feature, name, visit)
                table = table.set_column(index, table.field(index), column)
        if step.wish:
            new = walks.replaced(new, partial(change.becomes, step.wish))
    if new != features:
        table = table.replace_schema_metadata(new.arrow_schema.metadata)
    return table, new


def idle(features: Features, wish: Mapping[str, object]) -> dict[str, str]:
    """{key: what it would change} for each key of a wish that these features have nothing for."""
    return {
        change.key: f"{change.noun}s"
        for change in CHANGES
        if wish.get(change.key) and not walks.holds(features, change.takes)
    }


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What one change does to the rows of a table."""

    change: Change
    wish: object
    places: Sequence[Place]

    def apply(self, array: pyarrow.Array, spot: Spot) -> pyarrow.Array:
        def at(index: int, why: str) -> Fault:
            place, column = self.places[int(spot.rows[index])], ".".join(spot.path)
            return BuildFault.of(
                f"{place}: the {self.change.noun} in the column {column} {why}",
                key=("dataset", self.change.key if self.wish else "source"),
                hint="mend it, or leave its row out (rows, where)",
            )

        made = self.change.apply(array, at, self.wish or None)
        return made if self.wish else array


def _columns(
    table: pyarrow.Table, features: Features, wish: object
) -> tuple[pyarrow.Table, Features]:
    dropped = isinstance(wish, Mapping)
    named = wish["drop"] if isinstance(wish, Mapping) else wish
    if not isinstance(named, Sequence):
        return table, features
    key = ("dataset", "columns")
    for name in named:
        if name not in features:
            raise BuildFault.of(
                f"the dataset has no column {name}", key=key, hint=did_you_mean(name, features)
            )
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise BuildFault.of(f"the column {twice[0]} is named twice", key=key)
    kept = [name for name in features if name not in named] if dropped else named
    if not kept:
        raise BuildFault.of(
            "no column is left", key=key, hint=f"keep at least one of {', '.join(features)}"
        )
    features = type(features)({name: features[name] for name in kept})
    return table.select(kept).replace_schema_metadata(features.arrow_schema.metadata), features


# --- texts ----------------------------------------------------------------------------------------


def _text(array: pyarrow.Array, at: At, wish: sections.Text) -> pyarrow.Array:
    import pyarrow
    import pyarrow.compute as pc

    most = wish["max_chars"]
    try:
        long = pc.fill_null(pc.greater(pc.utf8_length(array), most), False)
        if not pc.any(long).as_py():
            return array
        short = pc.utf8_slice_codeunits(array, 0, most + 1).to_pylist()
    except (pyarrow.ArrowInvalid, UnicodeDecodeError):
        for index, value in enumerate(array):
            try:
                value.as_py()
            except UnicodeDecodeError:
                raise at(index, "is not UTF-8") from None
        raise
    values = [text if text is None else cut(text, most) for text in short]
    return pyarrow.array(values, type=array.type)


def cut(text: str, length: int) -> str:
    """The first `length` code points of a text, or a few less: the last character keeps its marks
    (accents, vowel signs, what a joiner joins), or goes. A longer run of marks is cut itself."""
    if len(text) <= length:
        return text
    end = length
    while end and _belongs(text[end - 1], text[end]):
        end -= 1
    return text[: end or length]


def _belongs(before: str, mark: str) -> bool:
    joiner = "\u200d"
    return (
        unicodedata.category(mark).startswith("M")
        or joiner in (before, mark)
        or "\U0001f3fb" <= mark <= "\U0001f3ff"  # colours of skin
    )


# --- images and sounds ----------------------------------------------------------------------------


def _is(name: str) -> Callable[[FeatureType], bool]:
    """Whether a feature is of this class of datasets."""

    def takes(feature: FeatureType) -> bool:
        import datasets

        return isinstance(feature, getattr(datasets, name))

    return takes


def _files(
    array: pyarrow.Array, at: At, small: Callable[[bytes], tuple[bytes, str] | None]
) -> pyarrow.Array:
    """An array of media with the files that `small` makes (bytes, format's name; None: as it was),
    whose paths say their format."""
    import pyarrow

    parts = dict(zip([field.name for field in array.type], walks.children(array), strict=True))
    changed: dict[int, tuple[bytes, str | None]] = {}
    for index in range(len(array)):
        data, path = (parts[name][index].as_py() for name in ("bytes", "path"))
        if data is None and path is not None:
            # Nobody opens it here, and elsewhere it leads to nothing, or to another file.
            raise at(index, "is only the name of a file, not the file")
        try:
            made = None if data is None else small(data)
        except Wrong as wrong:
            raise at(index, str(wrong)) from None
        if made is not None:
            changed[index] = made[0], _named(path, made[1])
    if not changed:
        return array
    for place, name in enumerate(("bytes", "path")):
        values = [
            changed[index][place] if index in changed else parts[name][index].as_py()
            for index in range(len(array))
        ]
        parts[name] = pyarrow.array(values, type=parts[name].type)
    return walks.rebuilt(array, list(parts.values()))


def _named(path: str | None, name: str) -> str | None:
    """A file's name with a suffix that says its format."""
    if path is None:
        return None
    suffixes = FORMATS[name].suffixes if name in FORMATS else (f".{name.lower()}",)
    root, suffix = posixpath.splitext(path)
    return path if suffix.lower() in suffixes else root + suffixes[0]


def _images(array: pyarrow.Array, at: At, wish: sections.Images | None) -> pyarrow.Array:
    most = ANY if wish is None else wish["max_size"]
    return _files(array, at, lambda data: image(data, most))


def _sounds(array: pyarrow.Array, at: At, wish: sections.Audio | None) -> pyarrow.Array:
    own = wish or {}
    seconds, rate = own.get("max_seconds"), own.get("sampling_rate")
    return _files(array, at, lambda data: sound(data, seconds, rate))


def _at_rate(wish: sections.Audio, feature: FeatureType) -> FeatureType | None:
    """A feature whose sounds are decoded at the rate asked for, or at its own lower one."""
    from datasets import Audio

    rate = wish.get("sampling_rate")
    if rate is None or not isinstance(feature, Audio):
        return None
    return replace(feature, sampling_rate=min(rate, feature.sampling_rate or rate))


# In the order in which they are done.
CHANGES: tuple[Change, ...] = (
    Change(key="text", noun="text", takes=lambda f: walks.content(f) == "text", apply=_text),
    Change(key="images", noun="image", takes=_is("Image"), apply=_images, always=True),
    Change(
        key="audio",
        noun="sound",
        takes=_is("Audio"),
        apply=_sounds,
        always=True,
        becomes=_at_rate,
    ),
)
