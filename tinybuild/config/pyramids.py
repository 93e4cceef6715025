"""Pyramids of stages: widths, heads and blocks with a number for each stage, cut together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinybuild.config.sizes import BLOCKS
from tinybuild.config.tree import Number, Tree, divisor
from tinybuild.keys import GIVEN, NAMES, first, measures, numbers_layers, says, width
from tinybuild.paths import Data, Json, Path, items, mapping, whole, wholes

LEAST = 8  # what groups and heads divide: of a width, and of a head
ROUND = 2  # what widths are multiples of, where a class scales a table's and rounds them
DIVISORS = {"divisor", "depth_divisor"}  # what a class rounds widths to multiples of
PLAIN = 8  # a number in a table of blocks up to this is a kernel, a stride or a switch


@dataclass(frozen=True, kw_only=True)
class Widths:
    """A list of widths by stage, as it was before the rule."""

    path: Path
    name: str
    value: Sequence[int]

    @property
    def uneven(self) -> bool:
        return len(set(self.value)) > 1


def pyramids(tree: Tree) -> None:
    """Widths by stage shrink together: equal ones stay equal, and distinct ones distinct."""
    lists = [
        Widths(path=path, name=name, value=tuple(value))
        for path, node in tree.nodes()
        if not any(says(name, "width factor") for name in node)  # it shrinks what the lists say
        for name, value in node.items()
        if wholes(value) and says(name, "width by stage") and max(value) > 16
    ]
    stems = [number for one in lists if one.uneven for number in _stems(tree, one)]
    became = _widths(tree, lists, {number.was for number in stems})
    _tables(tree, became, {one.path for one in lists})
    for number in tree.numbers("width", "channels"):
        for one in lists:
            if one.path == number.at[:-1] and number.was in one.value and one.uneven:
                new = number.node[one.name]
                assert wholes(new)
                place = one.value.index(number.was)
                tree.set(number.at, new[place], "rule pyramid: as its list")
    _tied(tree, lists, became)
    for number in stems:
        tree.set(number.at, became[number.was], "rule pyramid: narrower than its list")
    for path, node in tree.nodes():
        own = next((node[one.name] for one in lists if one.path == path), None)
        wide = own if wholes(own) else ()
        groups = node.get("num_groups")
        if wide and whole(groups):
            tree.set((*path, "num_groups"), math.gcd(groups, *wide), "rule pyramid groups")
        for name, value in list(node.items()):
            if wholes(value) and says(name, "heads by stage"):
                tree.set((*path, name), _heads(value, wide), "rule pyramid heads")
            elif wholes(value) and says(name, "blocks by stage"):
                _blocks(tree, (*path, name), node, value)


def _tied(tree: Tree, lists: Sequence[Widths], became: Mapping[int, int]) -> None:
    """A list of one width is as wide as what it is tied to, and a map as its backbone's stage."""
    for one in (one for one in lists if not one.uneven):
        for number in tree.numbers("width"):
            if number.at[:-1] == one.path and number.was == one.value[0]:
                now = [number.value] * len(one.value)
                tree.set((*one.path, one.name), now, "rule pyramid: as the width beside it")
    for path, name, value in tree.items():
        if says(name, "shape of a map") and wholes(value) and value[1] in became:
            shape = [value[0], became[value[1]], *value[2:]]
            tree.set((*path, name), shape, "rule pyramid: a map of its backbone")
        was = tree.was((*path, name)) if says(name, "width of a map") else None
        if whole(was) and was in became:
            tree.set((*path, name), became[was], "rule pyramid: a map of its backbone")


def _stems(tree: Tree, one: Widths) -> list[Number]:
    """The widths beside a list, in the pyramid's own config, that are below all of its stages'."""
    node = mapping(tree.data, one.path)
    depths = [v for n, v in node.items() if says(n, "blocks by stage") and isinstance(v, list)]
    if not any(len(stages) == len(one.value) for stages in depths):
        return []
    beside = (n for n in tree.numbers("width", "channels") if n.at[:-1] == one.path)
    return [number for number in beside if LEAST < number.was < min(one.value)]


def _widths(tree: Tree, lists: Sequence[Widths], stems: Collection[int]) -> dict[int, int]:
    """Make the lists small; what each of their widths, and of the stems', has become."""
    listed = {item for one in lists if one.uneven for item in one.value}
    doubled = {value << stage for value, times in _doubled(tree) for stage in range(times + 1)}
    timms = any(GIVEN in one.path for one in lists)  # whose stages divide by those before them
    became = _smaller({*listed, *doubled, *stems} if listed else (), tree.size.width, timms)
    heard = any(one.name in NAMES["mel bins"] for one in lists)  # as many as the input has
    if became and not doubled and not heard and not timms:
        became |= _last(tree, became)
    for one in lists:
        new = [
            became[n] if one.uneven else tree.sizes.get(((), "width", n), min(n, tree.size.width))
            for n in one.value
        ]
        tree.set((*one.path, one.name), new, "rule pyramid")
    return became


def _last(tree: Tree, became: Mapping[int, int]) -> dict[int, int]:
    """The last stage's width, which is not that of a tower beside it, where it was not."""
    *before, last = sorted(became)
    wide = {was: now for (*_, name, was), now in tree.sizes.items() if name == "width"}
    met = [was for was, now in wide.items() if now == became[last] and was != last]
    if not met or last in wide or last <= tree.size.width or last in tree.alike.widths:
        return {}
    least = max((became[was] for was in before), default=0)
    beside = tree.size.beside(narrow=last < max(met))
    free = (now for now in beside if now > least and now not in wide.values())
    tree.sizes[(), "width", last] = new = next(free, became[last])
    return {last: new}


def _smaller(widths: Collection[int], most: int, multiples: bool = False) -> dict[int, int]:
    """Eighths that heads and groups divide, in the same order and all distinct; what is small
    already stays. The same multiples of the least where there is place for them, or must be, else
    about as much smaller as the largest."""
    became = {width: width for width in widths if width <= LEAST}
    large = sorted(width for width in widths if width > LEAST)
    if not large or large[-1] <= most:
        return {width: width for width in widths}
    least = most * large[0] // large[-1] // LEAST * LEAST or LEAST * multiples
    if least and all(width % large[0] == 0 for width in large):
        return became | {width: width // large[0] * least for width in large}
    factor, last = large[-1] / most, 0
    for item in large:
        last = became[item] = max(last + LEAST, round(item / factor / LEAST) * LEAST)
    return became


def _doubled(tree: Tree) -> Iterator[tuple[int, int]]:
    """Each width of the source that doubles with the stages, and how often."""
    for path, name, _ in tree.items():
        was, node = tree.was((*path, name)), mapping(tree.source, path)
        times = _doublings(node)
        if times is not None and whole(was) and says(name, "doubled width"):
            yield was, times


def _doublings(node: Data) -> int | None:
    """How often a config's stages double a width; None where it has no stages."""
    stages = [v for n, v in node.items() if says(n, "stages") and isinstance(v, list | tuple)]
    return len(stages[0]) - ("depths" in node) if stages else None


def _tables(tree: Tree, became: Mapping[int, int], listed: set[Path]) -> None:
    """Tables of blocks and factors of widths follow the lists."""
    for path, name, value in tree.items():
        at = (*path, name)
        if isinstance(value, list | tuple) and value and _is_table(value):
            own = says(name, "table of blocks") and path not in listed
            widths = (_table_widths(tree, at) if own else {}) or became
            tree.set(at, _through(value, widths), "rule pyramid: its table")
            for other, now in list(mapping(tree.data, path).items()) if own else ():
                if whole(now) and measures(other) == "channels" and now in widths:
                    tree.set((*path, other), widths[now], "rule pyramid: its table")
            for rounded in DIVISORS & mapping(tree.data, path).keys() if own else ():
                tree.set((*path, rounded), ROUND, "rule pyramid: rounded widths stay apart")
        elif wholes(value) and says(name, "factor by stage"):
            turns = [1]  # a shortcut is where a width changes: three widths were twice as large
            for before, now in itertools.pairwise(value):
                turns.append(turns[-1] if before == now else 3 - turns[-1])
            base = _attended(tree, at)
            if base is not None and turns[-1] == 1:  # wider than the first, as it was
                turns = [
                    3 if factor == value[-1] else turn
                    for factor, turn in zip(value, turns, strict=True)
                ]
            tree.set(at, turns, "rule pyramid: single and double widths in turn")
            if base is not None:
                wide = first(mapping(tree.data, path), "width")
                reason = "rule pyramid: as wide as its last stage"
                tree.set((*path, str(wide)), base.value * turns[-1], reason)
        elif name == "num_res_blocks" and whole(value):
            tree.set(at, 1, "rule blocks in a stage")


def _attended(tree: Tree, at: Path) -> Number | None:
    """The width that has a factor for each stage, where the last stage's is the config's own width:
    that of the attention behind it (Emu 3's)."""
    factors, wide = tree.was(at), tree.width_was(at[:-1])
    last = factors[-1] if isinstance(factors, list | tuple) else None
    beside = (number for number in tree.numbers("norm channels") if number.at[:-1] == at[:-1])
    return next((number for number in beside if whole(last) and number.was * last == wide), None)


def _is_table(value: Sequence[Json]) -> bool:
    """Whether a list holds tables of blocks: lists of numbers and switches, at some depth."""
    return all(isinstance(item, list | tuple) for item in value) and any(
        isinstance(inner, list | tuple) or whole(inner)
        for item in value
        if isinstance(item, list | tuple)
        for inner in item
    )


def _table_widths(tree: Tree, at: Path) -> dict[int, int]:
    """What the widths in a table of blocks become where no list of the config has them."""
    numbers = {item for _, item in items(tree.was(at)) if whole(item) and item > PLAIN}
    became = _smaller(numbers, tree.size.width)
    return became if any(old != new for old, new in became.items()) else {}


def _through(value: Json, became: Mapping[int, int]) -> Json:
    if isinstance(value, list | tuple):
        return [_through(item, became) for item in value]
    return became.get(value, value) if whole(value) and value > PLAIN else value


def _heads(value: Sequence[int], wide: Sequence[int]) -> list[int]:
    """The heads of each stage, as many as in the source where its width has place for them; other
    numbers where the source has others, as far as they divide the width."""
    common, made = math.gcd(*value), dict[tuple[int, int], int]()
    if len(wide) != len(value):
        return [item // common for item in value]
    for item, width_ in zip(value, wide, strict=True):
        place = max(1, width_ // LEAST)
        near = divisor(width_, min(item // common, place))
        more = range(near, min(item, place) + 1)
        taken = {heads for (was, _), heads in made.items() if was != item}
        free = (heads for heads in more if width_ % heads == 0 and heads not in taken)
        made.setdefault((item, width_), next(free, near))
    return [made[pair] for pair in zip(value, wide, strict=True)]


def _blocks(tree: Tree, at: Path, node: Data, stages: Sequence[int]) -> None:
    """The first block of each stage and another, of another kind where there is one."""
    members = {
        name: value
        for name, value in node.items()
        if wholes(value) and numbers_layers(name, value, sum(stages))
    }
    kept: list[int] = []
    start = 0
    for count in stages:
        blocks = list(range(start, start + count))
        first = [any(blocks[0] in value for value in members.values())] if blocks else []
        others = [
            block
            for block in blocks[1:]
            if [any(block in value for value in members.values())] != first
        ]
        kept += sorted([*blocks[:1], *(others or blocks[1:])[: BLOCKS - 1]])
        start += count
    tree.set(at, [min(count, BLOCKS) for count in stages], "rule blocks in a stage")
    for name, value in members.items():
        places = [place for place, block in enumerate(kept) if block in value]
        tree.set((*at[:-1], name), places, "rule blocks in a stage: the kept blocks'")


SHARES = (16, 12, 8)  # widths that have a factor get this part of it, best first


def multipliers(tree: Tree) -> None:
    """Factors of widths that the class itself fixes (MobileNet, EfficientNet)."""
    for path, name, value in tree.items():
        if not isinstance(value, float):
            continue
        if says(name, "width factor"):
            share, *_ = tree.free("width factor", 0, SHARES)
            tree.sizes[(), "width factor", 0] = share
            tree.set((*path, name), value / share, "rule width factor")
            for rounded in DIVISORS & mapping(tree.data, path).keys():
                tree.set((*path, rounded), ROUND, "rule width factor: rounded widths stay apart")
            last = tree.was((*path, "hidden_dim"))
            if whole(last):  # the last convolution's, which has the factor in it
                tree.set((*path, "hidden_dim"), last // share, "rule width factor")
        elif name == "depth_coefficient" and value > 1:
            tree.set((*path, name), 1.0, "rule depth factor")


def doubled_widths(tree: Tree) -> None:
    """A width that doubles from stage to stage is so small that the last is the width, or a little
    less where a stage would meet another size."""
    for path, node in tree.nodes():
        times = _doublings(node)
        for name, value in list(node.items()) if times is not None else ():
            if times is not None and whole(value) and says(name, "doubled width"):
                least = 2 if "filters" in name else 8
                most = max(least, tree.size.width >> times)
                was, last = tree.was((*path, name)), min(value, most) << times
                derived = whole(was) and was << times == tree.width_was(path)
                if last == width(node) and name not in NAMES["width"] and not derived:
                    most += most // 2  # another width, then
                size = ((), "width", was if whole(was) else value)
                now, *_ = tree.free(*size[1:], (min(value, most), min(value, most) * 3 // 4))
                tree.sizes[size] = now
                tree.set((*path, name), now, "rule doubled width")
