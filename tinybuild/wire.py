"""Frozen dataclasses to and from JSON data, in one place.

What a class's annotations say is what its JSON looks like: str, int, float, bool, None, unions of
them, Literal, tuple[X, ...] and tuple[X, Y] (lists in JSON), Mapping[str, X] and dict[str, X],
other dataclasses, and `object`, Json or a TypedDict for what is taken as it stands. A field
`class_` stands for the key "class". A field with a default may be missing, and is left out while it
has its default.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING
from typing import Literal, TypeGuard, TypeVar, Union, get_args, get_origin

T = TypeVar("T")
Read = Callable[[object], object]


class Misshapen(ValueError):
    """JSON data that is not what a class says; `path` leads to the value."""

    def __init__(self, what: str, path: tuple[str | int, ...] = ()):
        self.what, self.path = what, path
        super().__init__(what, path)

    def __str__(self) -> str:
        place = ".".join(map(str, self.path))
        return f"{place}: {self.what}" if place else self.what

    def below(self, key: str | int) -> Misshapen:
        return Misshapen(self.what, (key, *self.path))


def load(kind: type[T], data: object) -> T:
    """An object of the class that the JSON data describes. Raises Misshapen."""
    return typing.cast(T, _reader(typing.cast(Hashable, kind))(data))


def dump(value: object) -> typing.Any:
    """JSON data of a dataclass, a mapping, a list or tuple, or a plain value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            key: dump(item)
            for key, name, default in _written(type(value))
            if (item := getattr(value, name)) != default or default is MISSING
        }
    if isinstance(value, Mapping):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [dump(item) for item in value]
    return value


def keys(kind: type) -> tuple[str, ...]:
    """The keys of a dataclass in JSON, in the order of its fields."""
    return tuple(key for key, _, _ in _written(kind))


@functools.cache
def _written(kind: type) -> tuple[tuple[str, str, object], ...]:
    """(key, name of the field, its default) of a dataclass."""
    written = []
    for field in dataclasses.fields(kind):
        made = field.default_factory
        default = made() if made is not MISSING else field.default
        written.append((field.name.removesuffix("_"), field.name, default))
    return tuple(written)


@functools.cache
def _reader(kind: object) -> Read:
    """What reads a value of a type; raises TypeError for a type that JSON does not have."""
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _record(kind)
    if kind in _PLAIN:
        return _plain(*_PLAIN[kind])
    if origin in (Union, types.UnionType):
        return _either([_reader(arg) for arg in args])
    if origin is Literal:
        return _one_of(args)
    if origin is tuple:
        return _many(_reader(args[0])) if args[1:] == (...,) else _fixed([*map(_reader, args)])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(_reader(args[1]))
    if typing.is_typeddict(kind):
        return _plain(dict, "a mapping")
    if kind is object or kind is typing.Any or isinstance(kind, str | typing.ForwardRef):
        return _as_it_stands
    raise TypeError(f"{kind} is not read from JSON")


# The names of JSON data of any shape: their recursive types are not followed.
_JSON = {"Json": object, "Data": Mapping[str, object]}
_PLAIN: Mapping[object, tuple[type, str]] = {
    str: (str, "text"),
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (bool, "true or false"),
    type(None): (type(None), "null"),
    None: (type(None), "null"),
}


def _as_it_stands(data: object) -> object:
    return data


def _plain(kind: type, name: str) -> Read:
    accepted = {kind, int} if kind is float else {kind}  # exact: true is not a number

    def read(data: object) -> object:
        if type(data) in accepted:
            return data
        raise Misshapen(f"must be {name}")

    return read


def _one_of(values: tuple[object, ...]) -> Read:
    def read(data: object) -> object:
        if any(data == value and type(data) is type(value) for value in values):
            return data
        raise Misshapen(f"must be one of {', '.join(map(str, values))}")

    return read


def _either(readers: list[Read]) -> Read:
    def read(data: object) -> object:
        errors = []
        for reader in readers:
            try:
                return reader(data)
            except Misshapen as error:
                errors.append(error)
        if any(error.path for error in errors):
            raise max(errors, key=lambda error: len(error.path))
        raise Misshapen(" or ".join(error.what for error in errors))

    return read


def _many(reader: Read) -> Read:
    def read(data: object) -> object:
        if not isinstance(data, list | tuple):
            raise Misshapen("must be a list")
        return tuple(_each(reader, enumerate(data)))

    return read


def _fixed(readers: list[Read]) -> Read:
    def read(data: object) -> object:
        if not isinstance(data, list | tuple) or len(data) != len(readers):
            raise Misshapen(f"must be a list of {len(readers)}")
        values = []
        for number, (reader, item) in enumerate(zip(readers, data, strict=True)):
            values += _each(reader, [(number, item)])
        return tuple(values)

    return read


def _mapping(reader: Read) -> Read:
    def read(data: object) -> object:
        if not _is_mapping(data):
            raise Misshapen("must be a mapping")
        if reader is _as_it_stands:
            return data
        return dict(zip(data, _each(reader, data.items()), strict=True))

    return read


def _is_mapping(data: object) -> TypeGuard[Mapping[str, object]]:
    """isinstance alone takes ten times as long, for an abstract class."""
    return type(data) is dict or isinstance(data, Mapping)


def _each(reader: Read, items: typing.Iterable[tuple[str | int, object]]) -> list[object]:
    values: list[object] = []
    for key, item in items:
        try:
            values.append(reader(item))
        except Misshapen as error:
            raise error.below(key) from None
    return values


def _record(kind: type) -> Read:
    """Data classes may name one another: the readers of the fields are made when first needed."""
    fields = {key: (name, default) for key, name, default in _written(kind)}
    needed = [key for key, (_, default) in fields.items() if default is MISSING]

    @functools.cache
    def readers() -> dict[str, tuple[str, Read]]:
        hints = typing.get_type_hints(kind, localns=_JSON)
        return {key: (name, _reader(hints[name])) for key, (name, _) in fields.items()}

    def read(data: object) -> object:
        if not _is_mapping(data):
            raise Misshapen("must be a mapping")
        if len(data) < len(fields):
            for key in needed:
                if key not in data:
                    raise Misshapen("is missing", (key,))
        known, given = readers(), dict[str, object]()
        for key, item in data.items():
            if key not in known:
                raise Misshapen("is not known", (key,))
            name, reader = known[key]
            try:
                given[name] = reader(item)
            except Misshapen as error:
                raise error.below(key) from None
        return kind(**given)

    return read
