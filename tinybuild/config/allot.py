"""The sizes of a config, chosen together: what differs in the source differs in the small one.

`widths` goes first: the widths of the whole tree. `parts` then takes one config after another:
heads, what a head is wide, inner widths, ranks, experts and depths, from the lists of
`sizes.Size.choices`, by the laws that a model's code goes by. Equal sizes stay equal.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from tinybuild.coded import code
from tinybuild.config import rotation
from tinybuild.config.attention import STATE_HEADS
from tinybuild.config.layers import beside, stacks
from tinybuild.config.solve import Apart, Law, Name, Product, Puzzle, Unknown
from tinybuild.config.tree import Number, Tree
from tinybuild.keys import BY_LAYER, NAMES, SPLIT, is_id, measures, of_modality, says, width
from tinybuild.paths import Data, Json, Path, mapping, whole, wholes

JOINS = range(2, 17)  # neighbours that a width may join
EVEN = 8  # what a head is wide is a multiple of it, as kernels want

# In the order in which they are chosen: what binds others first.
ORDER = (
    *("heads", "kv heads", "head dim", "rope dim", "rank", "state", "ffn width", "expert width"),
    *("depth", "experts", "groups", "top groups", "top k", "window", "queries", "mels"),
)
LISTED = ("ffn width", "expert width", "experts", "top k", "head dim", "kv heads", "window")


# --- widths ---------------------------------------------------------------------------------------


def widths(tree: Tree) -> None:
    """What is as wide as a layer: equal widths stay equal, distinct ones distinct.

    The width of the text is the size's; narrower and wider towers and projections take the next of
    its lists. Where the recipe sets a width, all keys that had the same value in the source follow
    it.
    """
    there = [n for n in tree.numbers("width", "channels") if not says(n.name, "patches a side")]
    numbers = [number for number in there if joined(tree, number) is None]
    wished = {n.was: tree.fixed[n.at] for n in numbers if n.at in tree.fixed and n.was}
    became = _widths(tree, numbers, {was: now for was, now in wished.items() if whole(now)})
    for number in there:
        if number.was in wished:
            tree.set(number.at, wished[number.was], "rule width: as the recipe's")
        elif number.value > tree.size.width or became.get(number.was, number.value) < number.value:
            alike = number.was in tree.alike.widths
            why = "rule width: as wide as the text, the class needs it" if alike else "rule width"
            tree.set(number.at, became.get(number.was, tree.size.width), why)
    for was, now in became.items():
        tree.sizes[(), "width", was] = now


def _widths(tree: Tree, numbers: list[Number], wished: dict[int, int]) -> dict[int, int]:
    """What each width of the source becomes, also of stages that are all as wide."""
    main = _main_width(tree)
    most = tree.size.width - (main > tree.size.width)  # what is as wide as the text will be is not
    kept = {n.was: n.value for n in numbers if n.was <= most and not _barred(tree, n)}
    towers = {tree.width_was(path) for path, _ in tree.nodes()}
    even = [v[0] for _, name, v in tree.items() if wholes(v) and _even(name, v)]
    large = {was for was in (*even, *(n.was for n in numbers)) if was > most}
    large |= {n.was for n in numbers if n.was <= most} - set(kept)
    large -= set(wished)
    became = {**kept, **wished}
    if main in large:
        became[main] = tree.free("width", main, (tree.size.width, *tree.size.wider))[0]
    for was in sorted(large - set(became), key=lambda was: (was not in towers, -was)):
        beside = tree.size.beside(narrow=was < main)
        beside = (*beside, was * 3 // 4, was // 2) if was <= most else beside
        free = [w for w in beside if w not in became.values() and w <= was]
        alike = was in tree.alike.widths
        listed = tree.free("width", was, free)
        if len(listed) < len(free):  # some classes join neighbours to the width of another tower
            share = {now / before for before, now in became.items()}
            listed = tuple(sorted(listed, key=lambda now: now / was not in share))
        became[was] = listed[0] if listed and not alike else min(was, tree.size.width)
    return became


def _barred(tree: Tree, number: Number) -> bool:
    return ("width", number.was, number.was) in tree.alike.barred


def _even(name: str, value: Sequence[int]) -> bool:
    wide = says(name, "width by stage") or measures(name) == "width"
    return wide and not is_id(name) and len(set(value)) == 1


def _main_width(tree: Tree) -> int:
    """The width of the text, or else of the whole, or else the first."""
    parts = [(name,) for name in NAMES["text part"]]
    places = [(), *parts, *(path for path, _ in tree.nodes())]
    return next((was for path in places if (was := tree.width_was(path))), tree.size.width)


def joined(tree: Tree, number: Number) -> tuple[Path, int] | None:
    """The tower whose width this width has several times (merged patches, several layers), and how
    many times; None for a width of its own, such as that of another tower."""
    towers = {tree.width_was(path) for path, _ in tree.nodes()}
    named = says(number.name, "joined width") and number.name not in NAMES["width"]
    if number.was in towers or not named:
        return None
    path, node = number.at[:-1], number.node
    sees = [(*path, name) for name in node if of_modality(name, "image", "audio")]
    for tower in [path] if width(node) else sees:
        before = tree.width_was(tower)
        inside = width(mapping(tree.data, tower))
        if before and inside and number.was % before == 0 and number.was // before in JOINS:
            return tower, number.was // before
    return None


# --- the sizes of one config ----------------------------------------------------------------------


def parts(tree: Tree) -> None:
    """All other sizes of each config, chosen together."""
    depths: dict[Path, list[Depth]] = {}
    for stack, least, open_ in stacks(tree):
        depth = Depth(was=stack.number, least=least, most=stack.number if open_ else least)
        depths.setdefault(stack.path, []).append(depth)
    for path, node in tree.nodes():
        part = Part(tree=tree, path=path, node=node)
        part.sizes()
        for depth in depths.get(path, ()):
            part.add(("depth", depth.was), tuple(range(depth.least, depth.most + 1)[:4]))
        for bind in (part.depths, part.heads, part.latent, part.rotated, part.experts, part.inner):
            bind()
        part.choose()


@dataclass(frozen=True, kw_only=True)
class Depth:
    """The layers of a stack: how many there were, and the least and most that there may be."""

    was: int
    least: int
    most: int


@dataclass(kw_only=True)
class Part:
    """The sizes of one config as a puzzle: `choices` by what they are, `keys` that have them."""

    tree: Tree
    path: Path
    node: Data
    choices: dict[Name, tuple[int, ...]] = field(default_factory=dict)
    keys: dict[str, Name] = field(default_factory=dict)
    laws: list[Law] = field(default_factory=list)
    aparts: list[Apart] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wide = width(self.node) or self.tree.size.width
        self.was_wide = self.tree.width_was(self.path) or 0

    # --- what there is

    def sizes(self) -> None:
        """The sizes of the config, its own and those in lists that have one for each layer."""
        for name, value in self.node.items():
            measured = measures(name)
            if is_id(name) or measured not in ORDER or measured == "depth" or self._derived(name):
                continue
            was, fixed = self.tree.was((*self.path, name)), (*self.path, name) in self.tree.fixed
            if whole(value) and value > 0:
                self._size(name, was if whole(was) and was > 0 else value, value if fixed else None)
            elif _listed(measured, value) and not fixed:
                assert wholes(value)
                for item in value:
                    self._size(name, item, None)

    def _size(self, key: str, was: int, wished: int | None) -> None:
        name = self.name(key, was)
        measured, _, follows = name[0].partition(": ")  # what the recipe sets
        if wished is None and follows:
            wished = cast("int", self.tree.fixed[(*self.path, follows)])
        self.keys.setdefault(key, name)
        self.add(name, self._choices(measured, was, key) if wished is None else (wished,))

    def name(self, key: str, was: int) -> Name:
        """Key-value heads that were as many as the heads are the same size; what the recipe sets is
        a size of its own."""
        measured = measures(key)
        heads = self.heads_of(key) if measured == "kv heads" else None
        if (*self.path, key) in self.tree.fixed:
            return f"{measured}: {key}", was
        return self.name(heads, was) if heads and self.was(heads) == was else (measured, was)

    def add(self, name: Name, choices: tuple[int, ...]) -> None:
        """What is elsewhere in the tree of this size becomes the same, if it may."""
        elsewhere = {now for (_, *other), now in self.tree.sizes.items() if (*other,) == name}
        if name[0] != "depth":
            choices = tuple(sorted(choices, key=lambda choice: choice not in elsewhere))
        self.choices.setdefault(name, self.tree.free(*name, choices))

    def was(self, key: str) -> int:
        value = self.tree.was((*self.path, key))
        now = self.node.get(key)
        return value if whole(value) else now if whole(now) else 0

    def fills(self, key: str) -> bool:
        """Whether the whole's code joins neighbours to the inner width of its tower for sound."""
        if not self.path or not of_modality(self.path[-1], "audio"):
            return False
        text = code(str(self.tree.data.get("model_type")))
        return re.search(rf"\b{self.path[-1]}\.{key}\b", text) is not None

    def _choices(self, measured: str, was: int, key: str) -> tuple[int, ...]:
        """What a size may become, best first: at most what it was, and itself where it is small."""
        if measured == "ffn width":
            if was == self.was_wide:
                return (self.wide,)
            times = was // self.was_wide if self.was_wide else 0
            if was == times * self.was_wide > 0 and self.fills(key):
                return (times * self.wide,)
            size = self.tree.size
            there = {measures(key) for key, value in self.node.items() if whole(value) and value}
            of_experts = "experts" in there and "expert width" not in there
            parts = size.expert_ffn if of_experts else size.ffn
            listed = tuple(self.wide * part // 64 * 8 for part in parts)
        else:
            listed = self.tree.size.choices[measured]
        degree = self.tree.size.parallel
        if measured in SPLIT and was % degree == 0:
            listed = tuple(n for n in listed if n % degree == 0) or (degree,)
        elif measured == "heads":
            listed = (*listed, 1)
        if was <= listed[0]:
            return (was, *(number for number in listed if number < was))
        return tuple(number for number in listed if number <= was)

    def _derived(self, key: str) -> bool:
        """Whether a later rule derives a key from others: a state space's heads cover the widened
        layer, a latent head has a rotated and a plain part."""
        covers = any(dim == key and self.covered(heads, dim) for heads, dim in STATE_HEADS)
        return covers or (key in ("head_dim", "qk_head_dim") and self._latent)

    def covered(self, heads: str, dim: str) -> int:
        """How many widths these heads cover in the source; 0 where that is no whole number."""
        if not (whole(self.node.get(heads)) and whole(self.node.get(dim)) and self.was_wide):
            return 0
        both = self.was(heads) * self.was(dim)
        return both // self.was_wide if both % self.was_wide == 0 else 0

    @property
    def _latent(self) -> bool:
        return all(whole(self.node.get(name)) for name in ("qk_rope_head_dim", "qk_nope_head_dim"))

    # --- what binds them

    def law(self, keys: tuple[str, ...], holds: Callable[..., bool]) -> None:
        self.laws.append(Law(over=tuple(self.keys[key] for key in keys), holds=holds))

    def apart(self, keys: tuple[str, ...], meets: Callable[..., bool]) -> None:
        self.aparts.append(Apart(over=tuple(self.keys[key] for key in keys), meets=meets))

    def depths(self) -> None:
        """A stack that is deeper than another stays so: classes take the number of one for both."""
        stacks = sorted(name for name in self.choices if name[0] == "depth")
        for low, high in itertools.pairwise(stacks):
            if min(self.choices[low]) <= max(self.choices[high]):
                self.laws.append(Law(over=(low, high), holds=lambda low, high: low <= high))

    def measuring(self, *measured: str) -> list[str]:
        return [key for key in self.keys if measures(key) in measured]

    def heads_of(self, key: str) -> str | None:
        """The heads that a key belongs to: of the same prefix (swa_, linear_value_), or the main
        ones."""
        named = [n for n, v in self.node.items() if measures(n) == "heads" and whole(v) and v > 0]
        own = _about(key)
        for other in named:
            if own and _about(other) == own:
                return other
        for other in named:
            if own and other.startswith(own.split("_")[0] + "_"):
                return other
        return next((n for n in NAMES["heads"] if n in named), next(iter(named), None))

    def heads(self) -> None:
        """Heads divide the width that they share, key-value heads the heads; where heads do not
        cover the width in the source, they do not here."""
        alone = set(self.measuring("heads"))
        for state, dim in STATE_HEADS:
            times = self.covered(state, dim)
            if times and state in self.keys:
                alone.discard(state)
                self.law((state,), lambda h, all_=times * self.wide: all_ % h == 0)
                each = functools.partial(_each, times * self.wide)
                part = Product(over=(self.keys[state],), was=self.was(dim), of=each)
                self.products.append(part)
        for dim in self.measuring("head dim"):
            heads = self.heads_of(dim)
            if heads in self.keys:
                assert heads is not None
                self._cover(heads, dim)
                if dim in NAMES["head dim"] or dim == "kv_channels":
                    alone.discard(heads)
        for key in alone:
            widths = self.widths(key) if not self._latent else []
            for wide in widths:
                self.law((key,), lambda h, wide=wide: wide % h == 0)
                self.apart((key,), lambda h, wide=wide: wide // h % EVEN > 0)
            if self.was_wide and not self._latent and not widths:
                self.apart((key,), lambda h: self.wide % h == 0)
        for key in self.measuring("kv heads"):
            main = self.heads_of(key)
            if main in self.keys and self.keys[key] != self.keys[main]:
                assert main is not None
                self.law((main, key), lambda h, kv: h % kv == 0 and kv < h)

    def widths(self, heads: str) -> list[int]:
        """The widths of layers that heads share in the source: those with the heads' prefix
        (pred_), or the main ones; none where they share none."""
        for prefix in dict.fromkeys((_about(heads), "")):
            there = [prefix + name for name in NAMES["width"]]
            named = [name for name in there if whole(self.node.get(name))]
            wide = [self.node[name] for name in named if self.was(name) % self.was(heads) == 0]
            if wide:
                return [value for value in wide if whole(value)]
        return []

    def _cover(self, heads: str, dim: str) -> None:
        """What heads of their own width cover: the width, twice that, or something else."""
        was, wide = self.was(heads) * self.was(dim), self.wide
        if was == self.was_wide:
            self.law((heads, dim), lambda h, d: h * d == wide)
        elif was == 2 * self.was_wide and "attention" in dim:
            self.law((heads, dim), lambda h, d: h * d == 2 * wide)  # over a doubled width
        kv = (key for key in self.measuring("kv heads") if _about(key) == _about(dim))
        for key in (heads, *kv) if "nope" not in dim else ():
            over = (self.keys[key], self.keys[dim])
            self.products.append(Product(over=over, was=self.was(key) * self.was(dim)))
            self._by_layer((heads, key, dim))

    def _by_layer(self, keys: tuple[str, str, str]) -> None:
        """What heads, or their key-value heads, cover in layers that have sizes of their own."""
        source, (_, key, dim) = mapping(self.tree.source, self.path), keys
        for own in map(mapping, mapping(self.node.get(BY_LAYER)).values()):
            many, wide = own.get(key, self.was(key)), own.get(dim, self.was(dim))
            if {key, dim} & {*own} and whole(many) and whole(wide):

                def of(numbers: Iterable[int], many: int = many, wide: int = wide) -> int:
                    node = dict(zip(keys, numbers, strict=True))
                    return beside(key, many, node, source) * beside(dim, wide, node, source)

                over = tuple(self.keys[name] for name in keys)
                self.products.append(Product(over=over, was=many * wide, of=of))

    def latent(self) -> None:
        """What latent attention joins: ranks and parts of heads."""
        both = ("qk_nope_head_dim", "qk_rope_head_dim")
        if all(name in self.keys for name in both):
            over = (self.keys[both[0]], self.keys[both[1]])
            self.products.append(Product(over=over, was=sum(map(self.was, both)), of=sum))
        names = ("kv_lora_rank", "qk_rope_head_dim")
        there = all(name in self.keys for name in names)
        if there and sum(map(self.was, names)) != self.was_wide:
            self.apart(names, lambda rank, rope: rank + rope == self.wide)

    def rotated(self) -> None:
        """A head is rotated in pairs, of which each rotary section has one at least: one has more
        where they are not equal in the source."""
        parts = rotation.sections(self.node)
        least = 2 * (len(parts) + (len(set(parts)) > 1)) if parts else 0
        parted = rotation.parted(mapping(self.tree.source, self.path))

        def turned(dim: int) -> int:
            return dim if parted else rotation.turned(self.node, dim)

        def holds(dim: int) -> bool:
            return (parted or rotation.fits(self.node, dim)) and turned(dim) >= least

        names = ("qk_rope_head_dim", *NAMES["head dim"], "kv_channels")
        dim = next((name for name in names if name in self.keys), None)
        heads = next((name for name in NAMES["heads"] if name in self.keys), None)
        if dim is not None:
            self.law((dim,), holds)
            for index in self.measuring("head dim"):
                if "index" in index:  # its heads are rotated alike
                    self.law((dim, index), lambda d, inner: turned(d) <= inner)
            if parted and "head_dim" in self.keys:
                self.law((dim, "head_dim"), lambda part, dim: part < dim)
        elif heads is not None and not self._latent:
            self.law((heads,), lambda h: holds(self.wide // h))

    def experts(self) -> None:
        """Groups divide the experts and have two each; those chosen are in the chosen groups."""
        kinds = ("experts", "groups", "top groups", "top k")
        found = [next(iter(self.measuring(kind)), None) for kind in kinds]
        experts, groups, chosen, top = found
        if experts is not None and groups is not None:
            self.law((experts, groups), lambda e, g: e % g == 0 and (g == 1 or e >= 2 * g))
        if groups is not None and chosen is not None:
            self.law((groups, chosen), lambda g, c: c <= g)
        if experts is None:
            return
        for key in self.measuring("top k"):
            fewer = self.was(key) < self.was(experts)
            self.law((experts, key), lambda e, k, fewer=fewer: k < e if fewer else k <= e)
        if groups is not None and chosen is not None and top is not None:
            self.law((experts, groups, chosen, top), lambda e, g, c, k: k <= c * (e // g))

    def inner(self) -> None:
        """Experts often have two inner widths in one tensor; windows are of whole pools, and masks
        are made of the width with the heads beside it."""
        for name, pool in self.node.items():
            for key in self.measuring("window") if measures(name) == "pooled" else ():
                if whole(pool) and pool > 0 and self.was(key) % self.was(name) == 0:
                    self.law((key,), lambda window, pool=pool: window % pool == 0)
        for key in self.measuring("ffn width"):
            both = f"{key} // 2" in code(str(self.node.get("model_type")))  # in one tensor
            if both and self.was(key) != 2 * self.was_wide:
                self.apart((key,), lambda inner: inner == 2 * self.wide)
        for key in self.measuring("heads"):
            # Maps of the heads beside the width, in groups of eight (DETR's masks).
            beside = "hidden_size + number_of_heads" in code(str(self.node.get("model_type")))
            if beside and (self.was_wide + self.was(key)) % 8 == 0:
                self.law((key,), lambda heads: (self.wide + heads) % 8 == 0)
        for key in self.measuring("expert width"):
            if 2 * self.was(key) != self.was_wide:
                self.apart((key,), lambda inner: 2 * inner == self.wide)

    def dear(self, name: Name, choices: tuple[int, ...]) -> int | None:
        """Many layers, experts or heads are many parameters."""
        if name[0] == "depth":
            return min(choices) + (1 if self.measuring("experts") else 3)
        return 2 * self.tree.size.choices[name[0]][0] if name[0] in ("experts", "heads") else None

    # --- the answer

    def choose(self) -> None:
        """Set each size to what it becomes. What is longer than any of them may be may be as large
        as a product."""
        tree = self.tree
        taken = {(n.value, n.was) for n in tree.numbers("width") if n.name in NAMES["width"]}
        most = max((max(choices) for choices in self.choices.values()), default=0)
        for key, value in self.node.items():
            later = self._derived(key) or measures(key) in ("", "depth")
            if not whole(value) or key in self.keys or later:
                continue
            if measures(key) not in tree.size.lengths or value <= most:
                taken.add((value, self.was(key)))
        puzzle = Puzzle(
            unknowns=[
                Unknown(name=name, choices=choices, dear=self.dear(name, choices))
                for name, choices in sorted(self.choices.items(), key=_rank)
            ],
            laws=self.laws,
            aparts=self.aparts,
            products=self.products,
            taken=sorted(taken),
        )
        made = puzzle.solved(distinct=not tree.alike.parts)
        for (measured, was), now in made.items():
            tree.sizes[self.path, measured, was] = now
        for key in self.keys:
            value, reason = self.node[key], f"rule {measures(key)}"
            reason += ": plain, the class needs it" if tree.alike.parts else ""
            if wholes(value):
                tree.set((*self.path, key), [made[self.name(key, n)] for n in value], reason)
            elif made[self.keys[key]] != value:
                tree.set((*self.path, key), made[self.keys[key]], reason)


def _rank(size: tuple[Name, tuple[int, ...]]) -> tuple[bool, int, int]:
    """What has hardly a choice goes first."""
    name, choices = size
    return len(choices) > 2, ORDER.index(name[0].partition(":")[0]), -name[1]


def _listed(measured: str, value: Json) -> bool:
    """Whether a list gives each layer its own size of this measure: uneven ones of other measures
    are stages."""
    return (
        measured in LISTED
        and wholes(value)
        and min(value) > 0
        and (measured in ("kv heads", "expert width") or len(set(value)) == 1)
    )


def _each(all_: int, heads: Iterable[int]) -> int:
    return all_ // next(iter(heads))


def _about(key: str) -> str:
    """What a number of heads or their width is of: linear_value_ of linear_num_value_heads and
    linear_value_head_dim."""
    return re.sub(
        r"(num_|n_)|((attention_|key_value_|kv_)?heads?|attention_heads?|head_dim|dim_head|head_size|headdim)$",
        "",
        key,
    )
