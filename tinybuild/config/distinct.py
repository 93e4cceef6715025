"""What makes an architecture itself: its modules, and the sizes that differ from one another.

A source beside what was made of it, both on the meta device: which parameters one of them lacks,
and which sizes are unequal in the source and equal now. Nothing is judged or mended here.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from tinybuild.config import backbones, meta, overrides
from tinybuild.config.completed import complete, left_open
from tinybuild.config.meta import Shapes
from tinybuild.errors import BuildFault
from tinybuild.keys import (
    BY_LAYER,
    configs,
    first,
    is_config,
    is_depth,
    is_id,
    measures,
    numbers_layers,
    says,
)
from tinybuild.paths import Data, Json, Path, get, leaves, mapping, put, whole, wholes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Stack -> number of the layer -> the names in it, other numbers as *. "" is what is in no stack.
Layers: TypeAlias = Mapping[str, Mapping[str, frozenset[str]]]

# What keys say that speak of so many layers.
COUNTS = (
    *("first layers", "last layers", "place of a layer", "spread layers", "layers taken"),
    *("numbers of layers", "numbers of outputs", "blocks by stage"),
)
KERNEL = 16  # a kernel is at most as large
# In the reason of a key whose size could not be kept apart from others.
NEEDED = "the class needs it"
FAR = "the model was too large otherwise"
WISHED = ("recipe", "tokenizer", "exception")  # how the reason of a size begins that is wanted
OF = ("width", "heads")  # what a class derives the width of a head from

_NUMBER = re.compile(r"(?:(?<=\.)|(?<=expert_)|^)\d+(?=\.|$)")


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size that a config gives: one key's, or the product of several; in the source, and now."""

    keys: tuple[Path, ...]
    was: int
    now: int

    @property
    def name(self) -> str:
        return " x ".join(".".join(path) for path in self.keys)

    def beside(self, other: Size) -> bool:
        """Whether one may be taken for the other: products for widths only."""
        alone = [size for size in (self, other) if len(size.keys) == 1]
        wide = [size for size in alone if measures(size.keys[0][-1]) == "width"]
        return len(alone) == 2 or len(wide) == 1


@dataclass(frozen=True, kw_only=True)
class Coincidence:
    """Two sizes that differ in the source (`was`) and are equal now: of a config, or of a tensor's
    axes, which have no keys."""

    names: tuple[str, str]
    was: tuple[int, int]
    now: int
    keys: tuple[tuple[Path, ...], tuple[Path, ...]] = ((), ())

    def __str__(self) -> str:
        was = " and ".join(map(str, self.was))
        return f"{' and '.join(self.names)} are {self.now}, and {was} in the source"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A source beside a tiny model. lost, gained: parameters that only the source, only the tiny
    has. axes: of one tensor. layers: one axis of a tensor that differs from layer to layer. sizes:
    of the configs. apart: tensors with axes that are equal in the source only. source: the config
    that was compared."""

    lost: tuple[str, ...]
    gained: tuple[str, ...]
    axes: tuple[Coincidence, ...]
    layers: tuple[Coincidence, ...]
    sizes: tuple[Coincidence, ...]
    apart: tuple[str, ...]
    source: Data

    @property
    def coincidences(self) -> tuple[Coincidence, ...]:
        return (*self.sizes, *self.axes, *self.layers)


def compared(
    model_class: type[PreTrainedModel],
    source: PreTrainedConfig,
    tiny: PreTrainedConfig,
    given: Data | None = None,
    now: Shapes | None = None,
) -> Compared:
    """What the class makes of two configs (`now`, where that is known); of the source's only the
    kept layers where the class takes it so.

    given: what the source is as well: switches, other parts, and what it does not say itself.
    Raises BuildFault where the class makes nothing of one of them.
    """
    source = complete(source, left_open(source, given))
    data, given = tiny.to_dict(), overrides.canonical(source, given or {})
    source, _ = backbones.own(overrides.substituted(source, given), given)
    was, full = _source(model_class, source, data, given)
    now = meta.shapes(model_class, tiny) if now is None else now
    return Compared(
        lost=tuple(lacking(full, now)),
        gained=tuple(lacking(now, full)),
        axes=tuple(coincident_axes(full, now)),
        layers=tuple(coincident_layers(full, now)),
        sizes=tuple(coincident_sizes(source.to_dict(), was, data)),
        apart=tuple(apart(full, now)),
        source=was,
    )


def _source(
    model_class: type[PreTrainedModel], source: PreTrainedConfig, tiny: Data, given: Data
) -> tuple[Data, Shapes]:
    """The source's config with only the kept layers, and its tensors."""
    try:
        short = shortened(source, tiny, given)
    except overrides.refusals():
        return source.to_dict(), meta.shapes(model_class, source)
    try:
        return short.to_dict(), meta.shapes(model_class, short)
    except BuildFault:
        return source.to_dict(), meta.shapes(model_class, source)


def shortened(source: PreTrainedConfig, tiny: Data, given: Data) -> PreTrainedConfig:
    """The source's config with as many layers as the tiny one's, of the same kinds, every size as
    it was. Raises what the class refuses it with."""
    data: dict[str, Json] = {}
    for path, node in configs(source.to_dict()):
        for name, value in _cut(node, mapping(tiny, path)).items():
            put(data, (*path, name), copy.deepcopy(value))  # classes write into what they get
    for path, value in leaves(given):
        switch = not measured(path[-1]) or value == 0  # a size of 0 turns off what has it
        if path[-1] not in overrides.OURS and (switch or get(data, path) is None):
            put(data, path, copy.deepcopy(value))
    return type(source)(**{n: v for n, v in data.items() if n not in overrides.OURS})


def _cut(node: Data, now: Data) -> Data:
    """One config of the source with the layers of the tiny one's, its parts aside."""
    made = {n: v for n, v in node.items() if not (isinstance(v, Mapping) and is_config(n, v))}
    deep = {n: v for n, v in node.items() if whole(v) and is_depth(n, v) and whole(now.get(n))}
    for name, value in node.items():
        counts = any(says(name, what) for what in COUNTS) or name in deep
        if name in now and (counts or any(numbers_layers(name, value, n) for n in deep.values())):
            made[name] = now[name]
    for name, number in deep.items():
        kept, own = _kept(node, now, number, name), mapping(node.get(BY_LAYER))
        for other, value in made.items():
            if isinstance(value, list | tuple) and len(value) == number and not is_id(other):
                made[other] = [value[index] for index in kept]
        by_layer = {
            place: own[n] for place, index in enumerate(kept) for n in own if int(n) == index
        }
        made.update({BY_LAYER: cast("Json", by_layer)} if own else {})
    return made


def _kept(node: Data, now: Data, number: int, depth: str) -> Sequence[int]:
    """The layers of the source that those of the tiny model stand for: of the same kinds, and of
    other sizes where there are some."""
    lists = [
        (value, short)
        for name, value in node.items()
        if isinstance(value, list | tuple) and len(value) == number and not is_id(name)
        if isinstance(short := now.get(name), list | tuple) and len(short) == now[depth]
    ]
    own = {str(index): value for index, value in mapping(node.get(BY_LAYER)).items()}
    mark = {n: repr(([value[n] for value, _ in lists], own.get(str(n)))) for n in range(number)}
    kept: list[int] = []
    for place in range(number)[: cast("int", now[depth])]:
        after = range(kept[-1] + 1 if kept else 0, number)
        like = [n for n in after if all(_like(full[n], short[place]) for full, short in lists)]
        new = [n for n in like if mark[n] not in {mark[index] for index in kept}]
        kept.append(next(iter([*new, *like]), place))
    return kept


def _like(one: Json, other: Json) -> bool:
    """Whether two entries say the same kind: of numbers only that they are some."""
    return (whole(one) and whole(other)) or one == other


# --- parameters -----------------------------------------------------------------------------------


def lacking(here: Iterable[str], there: Iterable[str]) -> Iterator[str]:
    """The parameters of one model that the other lacks.

    Layers of two stacks of one length are compared one by one; otherwise each kind of layer needs
    its like among the other's.
    """
    others = _layers(there)
    for stack, layers in _layers(here).items():
        other = others.get(stack, {})
        if layers.keys() == other.keys():
            missing = {(n, rest) for n in layers for rest in layers[n] - other[n]}
        else:
            kinds = {*layers.values()} - {*other.values()}
            missing = {
                (stack and "*", rest) for kind in kinds for rest in kind - _nearest(kind, other)
            }
        yield from sorted(".".join(part for part in (stack, *place) if part) for place in missing)


def _nearest(kind: frozenset[str], layers: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The layer that has most of these names."""
    return max(layers.values(), key=lambda names: len(names & kind), default=frozenset())


def _layers(names: Iterable[str]) -> Layers:
    made: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        number = _NUMBER.search(name)
        stack = name[: number.start()].rstrip(".") if number else ""
        rest = name[number.end() :].lstrip(".") if number else name
        made[stack][number[0] if number else ""].add(_NUMBER.sub("*", rest))
    return {s: {n: frozenset(rest) for n, rest in layers.items()} for s, layers in made.items()}


# --- axes of tensors ------------------------------------------------------------------------------


def coincident_axes(full: Shapes, now: Shapes) -> Iterator[Coincidence]:
    """Axes of one tensor that are equal now and, in each of the source's layers, are not; a tensor
    of several layers once. What is as small as it was (a kernel) may be met."""
    like = _alike(full)
    for kind, tensors in _alike(now).items():
        for i, j in itertools.combinations(range(len(next(iter(tensors.values())))), 2):
            was = [s for s in like.get(kind, {}).values() if len(s) > j]
            equal = [s[i] for s in tensors.values() if len(s) > j and s[i] == s[j]]
            kernel = any(size <= KERNEL and size in (s[i], s[j]) for size in equal for s in was)
            if equal and was and not kernel and all(shape[i] != shape[j] for shape in was):
                yield Coincidence(
                    names=(f"{kind}[{i}]", f"{kind}[{j}]"),
                    was=(was[0][i], was[0][j]),
                    now=equal[0],
                )


def apart(full: Shapes, now: Shapes) -> Iterator[str]:
    """Tensors with axes that are equal in all layers of the source, and not now."""
    like = _alike(full)
    for kind, tensors in _alike(now).items():
        was = [*like.get(kind, {}).values()]
        for shape in {*tensors.values()} if was else ():
            for i, j in itertools.combinations(range(len(shape)), 2):
                if shape[i] != shape[j] and all(len(s) > j and s[i] == s[j] for s in was):
                    yield f"{kind} is {list(shape)}, and {list(was[0])} in the source"


def coincident_layers(full: Shapes, now: Shapes) -> Iterator[Coincidence]:
    """Axes that differ from layer to layer in the source and are one size now, as which no kernel
    was in a layer."""
    like = _alike(full)
    for kind, tensors in _alike(now).items():
        was = {name: shape for name, shape in like.get(kind, {}).items() if name in tensors}
        for i in range(min((len(shape) for shape in was.values()), default=0)):
            first_of: dict[int, str] = {}
            for name in sorted(was):
                first_of.setdefault(was[name][i], name)
            made = {tensors[name][i] for name in was}
            kernel = any(size <= KERNEL and size in first_of for size in made)
            if len(first_of) > 1 and len(made) == 1 and not kernel:
                (old, one), (new, other) = list(first_of.items())[:2]
                names = (f"{one}[{i}]", f"{other}[{i}]")
                yield Coincidence(names=names, was=(old, new), now=made.pop())


def _alike(shapes: Shapes) -> Mapping[str, Shapes]:
    """The tensors by name with * for each number: those of all layers together."""
    made: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, shape in shapes.items():
        made[_NUMBER.sub("*", name)][name] = shape
    return made


# --- sizes of configs -----------------------------------------------------------------------------


def coincident_sizes(source: Data, short: Data, tiny: Data) -> Iterator[Coincidence]:
    """Sizes of one config, and entries of one list, that are unequal in the source and equal now;
    and the widths of its towers.

    short: the source with only the kept layers, whose lists are as long as the tiny one's.
    """
    for path, node in configs(tiny):
        yield from _coincident(sizes(source, tiny, path))
        for name, value in node.items():
            before = get(short, (*path, name))
            by_stage = says(name, "width by stage") or says(name, "heads by stage")
            if wholes(value) and wholes(before) and (by_stage or measured(name)):
                entries = zip(before, value, strict=False) if len(before) == len(value) else ()
                yield from _coincident(
                    Size(keys=((*path, name, str(place)),), was=old, now=new)
                    for place, (old, new) in enumerate(entries)
                )
    towers = [path for path, node in configs(tiny) if "model_type" in node]
    wide = {(*path, first(mapping(tiny, path), "width") or "") for path in towers}
    each = (size for path in towers for size in sizes(source, tiny, path))
    yield from _coincident(size for size in each if {*size.keys} <= wide)


def _coincident(sizes: Iterable[Size]) -> Iterator[Coincidence]:
    by_value: dict[int, list[Size]] = defaultdict(list)
    for size in sizes:
        by_value[size.now].append(size)
    for now, equal in by_value.items():
        for one, other in itertools.combinations(equal, 2):
            if one.was != other.was and one.beside(other):
                yield Coincidence(
                    names=(one.name, other.name),
                    was=(one.was, other.was),
                    now=now,
                    keys=(one.keys, other.keys),
                )


def sizes(source: Data, tiny: Data, path: Path) -> list[Size]:
    """The sizes of the config at a path: its keys', heads with what each is wide, and the patches
    of its image."""
    node, before = mapping(tiny, path), mapping(source, path)
    made = {
        name: Size(keys=((*path, name),), was=was, now=now)
        for name, now in node.items()
        if whole(now) and whole(was := before.get(name)) and min(now, was) > 0 and measured(name)
    }
    side, patch = first(node, "image side"), first(node, "patch side")
    joined = list(_covered(made))
    if side and patch:
        keys = ((*path, side), (*path, patch))
        was, number = (_patches(data.get(side), data.get(patch)) for data in (before, node))
        joined += [Size(keys=keys, was=was, now=number)] if was and number else []
    return [*made.values(), *joined]


def _covered(made: Mapping[str, Size]) -> Iterator[Size]:
    """Heads x what each is wide, as its values are: a rotated or a plain part is a part of it."""
    latent = any(measures(name) == "rope dim" for name in made)
    for name, heads in made.items():
        if measures(name) not in ("heads", "kv heads"):
            continue
        for other, wide in made.items():
            part = "nope" in other or (latent and other == "head_dim")
            if measures(other) == "head dim" and not part and _of(name) == _of(other):
                yield Size(
                    keys=heads.keys + wide.keys, was=heads.was * wide.was, now=heads.now * wide.now
                )


def _patches(side: Json, patch: Json) -> int:
    """Of a square image; 0 where the config does not say it."""
    return (side // patch) ** 2 if whole(side) and whole(patch) and patch else 0


def measured(name: str) -> bool:
    """Whether the number of a key is a size: an id is not, and a period of layers is not."""
    return bool(measures(name)) and not is_id(name) and not says(name, "period of layers")


_HEADS = frozenset(
    (
        *("num", "n", "d", "k", "v", "qk", "kv", "nope", "rope", "heads", "head", "attention"),
        *("attn", "key", "value", "dim", "headdim", "size", "channels"),
    )
)


def _of(name: str) -> frozenset[str]:
    """Whose heads a key speaks of: {linear} of linear_num_key_heads and of linear_key_head_dim."""
    return frozenset(name.split("_")) - _HEADS


# --- why -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of the sizes of a config: why they were changed, and what they were."""

    reasons: Mapping[str, str]
    sizes: Sequence[Size]

    @classmethod
    def of(cls, reasons: Mapping[str, str], source: Data, tiny: Data) -> Known:
        return cls(
            reasons=reasons,
            sizes=[size for path, _ in configs(tiny) for size in sizes(source, tiny, path)],
        )

    def why(self, one: Coincidence) -> str:
        """Why two sizes are equal though they differ in the source; "" where nobody says it."""
        said = (self._reason(path) for keys in self.keys(one) for path in keys)
        known = (t for t in said if t.startswith(WISHED) or NEEDED in t or FAR in t)
        return next(known, "")

    def keys(self, one: Coincidence) -> Iterator[tuple[Path, ...]]:
        """The keys that the sizes come from; of an axis those that were, and are, as large."""
        yield from one.keys
        if not any(one.keys):
            for size in self.sizes:
                if size.now == one.now and size.was in one.was:
                    yield size.keys

    def _reason(self, path: Path) -> str:
        """Of a key, or of the list or mapping that it is in; what follows a width or heads that the
        recipe sets is the recipe's: what the class derives, and what a head is wide."""
        ends = range(len(path), 0, -1)
        own = next((r for end in ends if (r := self.reasons.get(".".join(path[:end])))), "")
        if own not in ("", "derived") and measures(path[-1]) != "head dim":
            return own
        around = (size for size in self.sizes if [path[:-1]] == [key[:-1] for key in size.keys])
        asked = (size.keys[0] for size in around if measures(size.keys[0][-1]) in OF)
        said = (self.reasons.get(".".join(key), "") for key in asked)
        return next((reason for reason in said if reason.startswith(WISHED)), own)
