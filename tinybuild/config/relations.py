"""What the numbers of a config must be to one another, and the nearest values that work.

`RELATIONS` is the table: which keys of a config are in a relation, the relation in words, and when
it holds. A relation is here only if no default config that its class can run breaks it; what merely
is so in most of them is not: a patch need not divide the image (classes leave the rest out), a
vision tower's output need not be as wide as the text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeGuard

from tinybuild.config import overrides
from tinybuild.config.overrides import BY_LAYER
from tinybuild.config.tree import shares
from tinybuild.errors import BuildFault, Finding
from tinybuild.keys import NAMES, PLAIN, ids_in, is_depth, is_id
from tinybuild.keys import measures as kind
from tinybuild.paths import Path, whole
from tinybuild.paths import wholes as whole_list

Tree = Mapping[str, Any]
MAIN_HEADS = NAMES["heads"]
WIDTH_NAMES = NAMES["width"]
# Values that are tried for a hint: so many of the nearest on this relation, and so many of those
# that it allows on all others.
FAR, NEAR = 10_000, 16


@dataclass(frozen=True, kw_only=True)
class Node:
    """One config of a tree: its path and its own keys."""

    path: Path
    data: Tree
    strict: bool  # the class has refused the heads: nothing excuses them

    def at(self, *names: str) -> Path:
        return (*self.path, *names)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Keys that belong together.

    `keys` finds them in a config: tuples of paths in the tree, the one to mend first at the front.
    `words` says the relation, with {0}, {1} ... for the keys and their values; `holds` takes the
    values. `prefer` is what a value in the hint keeps beyond that. `other` makes a value for the
    first key where that is no whole number; None where it has none to offer. `least` is the least
    that the first key may be.
    """

    words: str
    keys: Callable[[Node], Iterator[tuple[Path, ...]]]
    holds: Callable[..., bool]
    prefer: Callable[..., bool] | None = None
    other: Callable[..., str | None] | None = None
    least: int = 1


def broken(
    tree: Tree, wishes: Tree, key: overrides.Key, names: Mapping[Path, Path] | None = None
) -> list[Finding]:
    """The relations that a config tree breaks, in the order of its configs and of the table.

    `wishes` are the recipe's overrides as it writes them, below `key` in it; a finding's key is
    that of the first override in the relation, or `key` where there is none. `names`: the recipe's
    path of each key that it calls by another name than the class.
    """
    wish = Wish(wishes=wishes, key=key, names=names or {})
    clashes = list(_clashes(tree, wish))
    return [clash.finding(clashes) for clash in clashes]


def override(source: Any, wishes: Tree, implied: Tree, key: overrides.Key) -> Any:
    """`overrides.override`, with all relations that the recipe's overrides break told at once.

    What the source's own config breaks is no relation of its class. Where the class refuses the
    overrides itself, the relations say why, if they know. Raises BuildFault.
    """
    source = overrides.substituted(source, wishes, key)
    try:
        made = overrides.override(source, wishes, implied, key)
    except BuildFault as fault:
        # A class that speaks of heads may want more of them than others do.
        strict = any("heads" in finding.what for finding in fault.findings)
        tree = _asked(source, overrides.requested(source, wishes, implied))
        wish = Wish.of(source, wishes, key, strict=strict)
        told = list(_told(tree, wish, source))
        if not told:
            raise
        # What the class says of other keys, or of none by name, is another matter or the same.
        places = {(*key, *wish.called(path)) for clash, _ in told for path in clash.paths}
        others = [f for f in fault.findings if f.key != key and f.key not in places]
        raise BuildFault([*others, *(finding for _, finding in told)]) from None
    findings = [f for _, f in _told(made.to_dict(), Wish.of(source, wishes, key), source)]
    if findings:
        raise BuildFault(findings)
    return made


def possible(source: Any, wishes: Tree, key: overrides.Key) -> None:
    """Raises BuildFault for overrides that cannot be, whatever all other keys become: unknown ones,
    and those that contradict one another."""
    source = overrides.substituted(source, wishes, key)
    findings = list(overrides.unknown(source, wishes, key))
    tree = overrides.merge(source.to_dict(), overrides.canonical(source, wishes))
    findings += [f for _, f in _told(tree, Wish.of(source, wishes, key, alone=True), source)]
    if findings:
        raise BuildFault(findings)


def layers(least: int | None, wishes: Tree, key: overrides.Key) -> None:
    """Raises BuildFault for a depth among the overrides (under the class's own names) below
    `least`, the recipe's `layers` below `key`: that is the least depth of every stack."""

    def found(data: Tree, path: Path) -> Iterator[tuple[Path, int]]:
        for name, value in data.items():
            if isinstance(value, Mapping) and name not in PLAIN:
                yield from found(value, (*path, name))
            elif least is not None and is_depth(name, value) and value < least:
                yield (*path, name), value

    findings = [
        Finding(
            what=f"layers ({least}) must be at most {'.'.join(path)} ({value}): it is the least "
            "depth of every stack",
            key=(*key, "layers"),
            hint=f"layers: {value}, or {'.'.join(path)}: {least}",
        )
        for path, value in found(wishes, ())
    ]
    if findings:
        raise BuildFault(findings)


@contextlib.contextmanager
def explained(source: Any, config: Any, wishes: Tree, key: overrides.Key) -> Iterator[None]:
    """Where the model class refuses the heads of a config, the relation and what works are told."""
    try:
        yield
    except BuildFault as fault:
        if not any(REFUSED.search(finding.what) for finding in fault.findings):
            raise
        source = overrides.substituted(source, wishes, key)
        told = list(_told(config.to_dict(), Wish.of(source, wishes, key, strict=True), source))
        if not told:
            raise
        raise BuildFault(finding for _, finding in told) from None


REFUSED = re.compile(r"cannot be made from this config.*(heads|divisib|multiple)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The recipe's overrides, where they stand, and how it calls the keys of the class.

    `strict`: the class has refused the heads. `alone`: other keys may yet become anything.
    """

    wishes: Tree
    key: overrides.Key
    names: Mapping[Path, Path]
    strict: bool = False
    alone: bool = False

    @classmethod
    def of(
        cls,
        source: Any,
        wishes: Tree,
        key: overrides.Key,
        *,
        strict: bool = False,
        alone: bool = False,
    ) -> Wish:
        names = dict(_names(source, wishes, (), ()))
        return cls(wishes=wishes, key=key, names=names, strict=strict, alone=alone)

    def called(self, path: Path) -> Path:
        return self.names.get(path, path)

    def has(self, path: Path) -> bool:
        """Whether the recipe sets the key at a path of the tree."""
        value: Any = self.wishes
        for name in self.called(path):
            if not isinstance(value, Mapping) or name not in value:
                return False
            value = value[name]
        return True


def _names(config: Any, wishes: Tree, path: Path, said: Path) -> Iterator[tuple[Path, Path]]:
    for name, value in wishes.items():
        own = config.attribute_map.get(name, name)
        yield (*path, own), (*said, name)
        inner = overrides.sub_config(config, name)
        if inner is not None and isinstance(value, Mapping):
            yield from _names(inner, value, (*path, own), (*said, name))


def _told(tree: Tree, wish: Wish, source: Any) -> Iterator[tuple[Clash, Finding]]:
    """What breaks a relation in which overrides are, and which the source's own config keeps."""
    before = {clash.name for clash in _clashes(source.to_dict(), NOBODY)}
    clashes = list(_clashes(tree, wish))
    for clash in clashes:
        if any(map(wish.has, clash.paths)) and clash.name not in before:
            yield clash, clash.finding(clashes)


def _asked(source: Any, tree: Tree) -> Tree:
    """What is asked of a class that refuses: its plain defaults too, not what it derives."""
    made = dict(tree)
    plain = {
        field.name
        for field in dataclasses.fields(source)
        if field.default is not None and field.default is not dataclasses.MISSING
    }
    for name, value in source.to_dict().items():
        inner = overrides.sub_config(source, name)
        if name not in made and (name in plain or isinstance(value, Mapping)):
            made[name] = value
        elif inner is not None and isinstance(made.get(name), Mapping):
            made[name] = _asked(inner, made[name])
    return made


NOBODY = Wish(wishes={}, key=(), names={})


@dataclass(frozen=True, kw_only=True)
class Clash:
    """A relation that does not hold between the keys at these paths of a tree."""

    relation: Relation
    paths: tuple[Path, ...]
    tree: Tree
    wish: Wish

    @property
    def name(self) -> tuple[Relation, tuple[Path, ...]]:
        return self.relation, self.paths

    def finding(self, present: Sequence[Clash]) -> Finding:
        """`present`: all clashes of the tree; a value in the hint makes no new one."""
        named = [f"{self._called(path)} ({_shown(_at(self.tree, path))})" for path in self.paths]
        wished = [path for path in self.paths if self.wish.has(path)]
        known = {clash.name for clash in present}
        hints = []  # what works for two of the keys, those of the recipe first
        for path in [*wished, *(path for path in self.paths if path not in wished)]:
            values = self._values(path, known)
            if values:
                hints.append(f"{self._called(path)}: {values}")
        return Finding(
            what=self.relation.words.format(*named, head=" / ".join(named[1:])),
            key=(*self.wish.key, *(self.wish.called(wished[0]) if wished else ())),
            hint=", or ".join(hints[:2]),
        )

    def _called(self, path: Path) -> str:
        return ".".join(self.wish.called(path))

    def _values(self, path: Path, known: Set[Any]) -> str:
        if whole(_at(self.tree, path)):
            return " or ".join(str(number) for number in self._nearest(path, known))
        if path == self.paths[0] and self.relation.other is not None:
            return self.relation.other(*(_at(self.tree, place) for place in self.paths)) or ""
        return ""

    def _nearest(self, path: Path, known: Set[Any]) -> list[int]:
        """The next value below and the next above that work, for this relation and, if there are
        such near by, for all others that the key is in and that hold now."""
        value = _at(self.tree, path)
        least = self.relation.least if path == self.paths[0] else 1
        others = (_at(self.tree, place) for place in self.paths if place != path)
        most = 2 * max((abs(v) for v in others if whole(v)), default=0) + NEAR
        low, high = max(value - FAR, least), max(value + 1, least)
        near = range(value - 1, low - 1, -1)
        ways: list[Iterable[int]] = [
            itertools.chain(near, range(min(low - 1, most), max(least, most - FAR) - 1, -1)),
            range(high, min(max(most, 2 * value + NEAR), high + FAR)),
        ]
        works = [list(itertools.islice(filter(self._fits(path), way), NEAR)) for way in ways]
        best = [next((n for n in way if not self._breaks(path, n, known)), None) for way in works]
        if best == [None, None]:
            best = [next(iter(way), None) for way in works]
        return [number for number in best if number is not None]

    def _fits(self, path: Path) -> Callable[[int], bool]:
        relation = self.relation
        now = {place: _at(self.tree, place) for place in self.paths}

        def fits(number: int) -> bool:
            given = tuple({**now, path: number}.values())
            return relation.holds(*given) and (not relation.prefer or relation.prefer(*given))

        return fits

    def _breaks(self, path: Path, number: int, known: Set[Any]) -> bool:
        clashes = _clashes(_put(self.tree, path, number), self.wish)
        return any(path in clash.paths and clash.name not in known for clash in clashes)


def _clashes(tree: Tree, wish: Wish) -> Iterator[Clash]:
    """Of relations between the same keys, the first that does not hold."""
    seen: set[frozenset[Path]] = set()
    for path, data in _nodes((), tree):
        node = Node(path=path, data=data, strict=wish.strict)
        for relation in (*RELATIONS, IDS):
            for paths in relation.keys(node):
                if relation is IDS and not wish.has(paths[0]):
                    continue
                if wish.alone and not all(map(wish.has, paths)):
                    continue
                if frozenset(paths) in seen or relation.holds(*(_at(tree, p) for p in paths)):
                    continue
                seen.add(frozenset(paths))
                yield Clash(relation=relation, paths=paths, tree=tree, wish=wish)


def _nodes(path: Path, data: Tree) -> Iterator[tuple[Path, Tree]]:
    yield path, data
    for name, value in data.items():
        if not isinstance(value, Mapping) or name in PLAIN or name == BY_LAYER or is_id(name):
            continue
        if all(isinstance(inner, str) for inner in value):
            yield from _nodes((*path, name), value)


def _at(tree: Tree, path: Path) -> Any:
    value: Any = tree
    for name in path:
        value = value[name]
    return value


def _put(tree: Tree, path: Path, value: Any) -> Tree:
    """The tree with another value at a path."""
    inner = value if len(path) == 1 else _put(tree[path[0]], path[1:], value)
    return {**tree, path[0]: inner}


def _shown(value: Any) -> str:
    if not _is_list(value):
        return str(value)
    entries = list(value)
    return str(entries) if whole_list(entries) and len(entries) <= 8 else _entries(len(entries))


def _entries(number: int) -> str:
    return f"{number} entr{'y' if number == 1 else 'ies'}"


# --- which keys ----------------------------------------------------------------------------------


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list | tuple)


def _numbers(data: Tree, *kinds: str) -> Iterator[tuple[str, int]]:
    """The positive whole numbers of these kinds; 0 often means that there is no such thing."""
    for name, value in data.items():
        if whole(value) and value > 0 and not is_id(name) and kind(name) in kinds:
            yield name, value


def _first(data: Tree, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if whole(data.get(name))), None)


# Heads of other mixers than attention; theirs are not the width shared among the heads.
MIXERS = re.compile(r"(mamba|linear|index|indexer|resampler|perceiver|conf|swa|cross)_.*|.*mamba.*")


def _head_dims(data: Tree) -> list[str]:
    """The keys that say how wide a head is, so that the heads need not divide the width."""
    wide = ("head dim", "rope dim")
    return [
        name
        for name, value in data.items()
        if whole(value) and kind(name) in wide and not MIXERS.fullmatch(name)
    ]


def heads_and_width(node: Node) -> Iterator[tuple[Path, ...]]:
    """Where a head is the width shared among the heads. Many classes round that down, and their
    attention is a little narrower than the layer: only those that say so refuse."""
    wide = _first(node.data, WIDTH_NAMES)
    if wide is None or node.data[wide] < 1 or "expand" in node.data:  # expand: no attention
        return
    rotated = "rope_parameters" in node.data  # with rotation there is mostly a key for a head
    shared = (
        not _head_dims(node.data) and not rotated and _insists(str(node.data.get("model_type")))
    )
    for name in MAIN_HEADS:
        if whole(node.data.get(name)) and node.data[name] > 0 and (shared or node.strict):
            yield node.at(name), node.at(wide)


@functools.cache
def _insists(model_type: str) -> bool:
    """Whether a model's code raises for a width that the heads do not divide, as far as its text
    tells. It is read, not imported: imports of all models take minutes."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    name = model_type_to_module_name(model_type)
    package = (
        importlib.util.find_spec(f"transformers.models.{name}") if name.isidentifier() else None
    )
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        file = pathlib.Path(folder, f"modeling_{name}.py")
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if RAISES.search(text) and 'getattr(config, "head_dim"' not in text:
            return True
    return False


RAISES = re.compile(
    r"not a multiple of the number of|must be divisible by `?num_?(attention_)?heads"
)


def stage_heads_and_first_width(node: Node) -> Iterator[tuple[Path, ...]]:
    """Where the width doubles from stage to stage (Swin)."""
    stages = node.data.get("depths")
    wide = _first(node.data, ("embed_dim", "patch_embeds_hidden_size"))
    if wide is None or not _is_list(stages):
        return
    for name, value in node.data.items():
        if whole_list(value) and kind(name) == "heads" and len(value) == len(stages):
            yield node.at(name), node.at(wide)


STAGE_WIDTHS = ("hidden_sizes", "embed_dim", "embed_dims")


def stage_heads_and_widths(node: Node) -> Iterator[tuple[Path, ...]]:
    heads = [n for n, v in node.data.items() if whole_list(v) and kind(n) == "heads"]
    widths = [n for n in STAGE_WIDTHS if whole_list(node.data.get(n))]
    for name in heads:
        for wide in widths:
            yield node.at(name), node.at(wide)


def kv_heads_and_heads(node: Node) -> Iterator[tuple[Path, ...]]:
    if node.data.get("multi_query") and not node.data.get("new_decoder_architecture"):
        return  # one head of keys, whatever the number says
    for name, _ in _numbers(node.data, "kv heads"):
        heads = _heads_of(name, node.data)
        if heads is not None:
            yield node.at(name), node.at(heads)


def _heads_of(name: str, data: Tree) -> str | None:
    """The heads that key-value heads belong to: those of the same prefix (swa_), or the main."""
    prefix = re.split(r"(?:num|n)_", name)[0]
    heads = [other for other, _ in _numbers(data, "heads")]
    if prefix == "linear_":
        return "linear_num_value_heads" if "linear_num_value_heads" in heads else None
    if prefix:
        return next((other for other in heads if other.startswith(prefix)), None)
    return next((other for other in MAIN_HEADS if other in heads), None)


def latent_heads(node: Node) -> Iterator[tuple[Path, ...]]:
    names = ("num_key_value_heads", "num_attention_heads", "kv_lora_rank", "qk_rope_head_dim")
    if all(whole(node.data.get(name)) for name in names):
        yield node.at(names[0]), node.at(names[1])


def latent_head_dim(node: Node) -> Iterator[tuple[Path, ...]]:
    names = ("qk_head_dim", "qk_nope_head_dim", "qk_rope_head_dim")
    if all(whole(node.data.get(name)) for name in names):
        yield tuple(node.at(name) for name in names)


def _share(node: Node) -> Any:
    """The share of a head that is rotated; None where it differs by layer."""
    rope = node.data.get("rope_parameters")
    if not isinstance(rope, Mapping) or "rope_theta" not in rope:
        return None
    given = (holder.get("partial_rotary_factor") for holder in (rope, node.data))
    return next((share for share in given if share is not None), 1.0)


def _head(node: Node) -> tuple[Path, ...] | None:
    """The keys that say what the rotated head is wide: one, or the width and the heads."""
    for name in ("qk_rope_head_dim", "head_dim"):
        if whole(node.data.get(name)):
            return (node.at(name),)
    wide, heads = _first(node.data, WIDTH_NAMES), _first(node.data, MAIN_HEADS)
    if wide and heads and not _head_dims(node.data) and node.data[heads] > 0:
        return node.at(wide), node.at(heads)
    return None


def rotated_head(node: Node) -> Iterator[tuple[Path, ...]]:
    head = _head(node)
    if head and len(head) == 1 and _share(node) == 1.0:
        yield head


def rotated_share(node: Node) -> Iterator[tuple[Path, ...]]:
    head = _head(node)
    if head and len(head) == 2 and _share(node) == 1.0:
        yield head


def sections_and_head(node: Node) -> Iterator[tuple[Path, ...]]:
    rope, head = node.data.get("rope_parameters"), _head(node)
    if not isinstance(rope, Mapping) or not head or _share(node) != 1.0:
        return
    if whole_list(rope.get("mrope_section")):
        yield (node.at("rope_parameters", "mrope_section"), *head)


def factors_and_head(node: Node) -> Iterator[tuple[Path, ...]]:
    rope, head = node.data.get("rope_parameters"), _head(node)
    if not isinstance(rope, Mapping) or not head or _share(node) != 1.0:
        return
    for name in ("short_factor", "long_factor"):
        if _is_list(rope.get(name)):
            yield (node.at("rope_parameters", name), *head)


def rotary_dim(node: Node) -> Iterator[tuple[Path, ...]]:
    head = _head(node)
    if whole(node.data.get("rotary_dim")) and head:
        yield (node.at("rotary_dim"), *head)


def top_k_and_experts(node: Node) -> Iterator[tuple[Path, ...]]:
    experts = tuple(node.at(name) for name, _ in _numbers(node.data, "experts"))
    for name, _ in _numbers(node.data, "top k"):
        if experts:
            yield (node.at(name), *experts)


def _group_keys(node: Node) -> tuple[Path, Path, Path | None, Path | None] | None:
    """Groups, experts, chosen groups, chosen experts; None where there is no choice of groups."""
    if node.data.get("topk_method") == "greedy":
        return None
    found_names = [
        next((name for name, _ in _numbers(node.data, kind_)), None)
        for kind_ in ("groups", "experts", "top groups", "top k")
    ]
    groups, experts, chosen, top_k = (node.at(name) if name else None for name in found_names)
    return (groups, experts, chosen, top_k) if groups and experts else None


def groups_and_experts(node: Node) -> Iterator[tuple[Path, ...]]:
    keys = _group_keys(node)
    if keys:
        yield keys[0], keys[1]


def group_of_two(node: Node) -> Iterator[tuple[Path, ...]]:
    # A group's score is the sum of its best two; only where the class takes the best one less do.
    keys = _group_keys(node)
    if keys and "topk_method" not in node.data:
        yield keys[0], keys[1]


def chosen_groups(node: Node) -> Iterator[tuple[Path, ...]]:
    keys = _group_keys(node)
    if keys and keys[2]:
        yield keys[2], keys[0]


def top_k_in_chosen_groups(node: Node) -> Iterator[tuple[Path, ...]]:
    keys = _group_keys(node)
    if keys and keys[2] and keys[3]:
        yield keys[3], keys[2], keys[0], keys[1]


DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth")
SIDES = ("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers")
# An entry for each layer. The class checks those of the first kind; of the others it reads as many
# as there are layers, so that more do no harm.
TYPES = ("layer_types", "mlp_layer_types")
ENTRIES = re.compile(
    r"layers_block_type|indexer_types|layer_rope_theta|activation_sparsity_pattern|no_rope_layers|"
    r"num_(attention|key_value)_heads_per_layer|kv_source_layers|attn_layers|sliding_windows"
)
NUMBERS = re.compile(
    r".*(visual_indexes|attn_indexes|attention_blocks|block_indexes|block_indices|attn_idxs)|"
    r"mlp_only_layers|cross_attention_layers|moe_layers|hybrid_layer_ids|rope_scaling_layers"
)
OUTPUTS = re.compile(r".*(layers_indices|state_indices)|backbone_out_indices")
DENSE = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
LAYERS_SEEN = ("vision_feature_layer", "vision_feature_layers")


def depth(node: Node) -> Iterator[tuple[Path, ...]]:
    for name in (*DEPTHS, *SIDES):
        if whole(node.data.get(name)):
            yield (node.at(name),)


def _with_depth(node: Node, fits: Callable[[str, Any], bool]) -> Iterator[tuple[Path, ...]]:
    deep = _first(node.data, DEPTHS)
    if deep is None or node.data[deep] < 1:
        return
    for name, value in node.data.items():
        if fits(name, value):
            yield node.at(name), node.at(deep)


def layer_types(node: Node) -> Iterator[tuple[Path, ...]]:
    return _with_depth(node, lambda name, value: name in TYPES and _is_list(value))


def entries(node: Node) -> Iterator[tuple[Path, ...]]:
    return _with_depth(
        node, lambda name, value: bool(ENTRIES.fullmatch(name)) and _is_list(value) and bool(value)
    )


def layer_numbers(node: Node) -> Iterator[tuple[Path, ...]]:
    return _with_depth(
        node, lambda name, value: bool(NUMBERS.fullmatch(name)) and whole_list(value)
    )


def layer_outputs(node: Node) -> Iterator[tuple[Path, ...]]:
    return _with_depth(
        node, lambda name, value: bool(OUTPUTS.fullmatch(name)) and whole_list(value)
    )


def layers_seen(node: Node) -> Iterator[tuple[Path, ...]]:
    """The layers of the tower that sees, whose outputs the text gets: they stand beside it."""
    tower = node.data.get("vision_config")
    deep = _first(tower, DEPTHS) if isinstance(tower, Mapping) else None
    if deep is None:
        return
    for name in LAYERS_SEEN:
        value = node.data.get(name)
        if whole(value) or whole_list(value):
            yield node.at(name), node.at("vision_config", deep)


def dense_layers(node: Node) -> Iterator[tuple[Path, ...]]:
    return _with_depth(node, lambda name, value: name in DENSE and whole(value))


def shared_layers(node: Node) -> Iterator[tuple[Path, ...]]:
    return _with_depth(node, lambda name, value: name == "num_kv_shared_layers" and whole(value))


def sizes(node: Node) -> Iterator[tuple[Path, ...]]:
    """What no model has none of. Of other sizes 0 says that there is no such part."""
    for name, value in node.data.items():
        if whole(value) and not is_id(name):
            main = name in (*WIDTH_NAMES, "vocab_size", *PATCHES)
            if main or kind(name) in ("heads", "kv heads", "top k"):
                yield (node.at(name),)


PATCHES = ("patch_size", "image_size")


def patch_and_image(node: Node) -> Iterator[tuple[Path, ...]]:
    padded = "window_size" in node.data  # Swin: what is missing is filled up
    if all(whole(node.data.get(name)) for name in PATCHES) and not padded:
        yield node.at("patch_size"), node.at("image_size")


def token_ids(node: Node) -> Iterator[tuple[Path, ...]]:
    """Each id with the vocabulary that it is of: its own config's, or that of the text."""
    place = _vocabulary(node)
    if place is None or "num_codebooks" in node.data:
        return  # the ids of codes: there are as many vocabularies as books
    for name, value in node.data.items():
        if is_id(name) and any(True for _ in ids_in(name, value)):
            yield node.at(name), place


def _vocabulary(node: Node) -> Path | None:
    own = [(value, name) for name, value in _numbers(node.data, "vocabulary")]
    if own:
        return node.at(max(own)[1]) if "vocab_size" in node.data else None
    for name in NAMES["text part"]:
        inner = node.data.get(name)
        if isinstance(inner, Mapping) and whole(inner.get("vocab_size")):
            return node.at(name, "vocab_size")
    return None


def padding(node: Node) -> Iterator[tuple[Path, ...]]:
    place = _vocabulary(node)
    own = place == node.at("vocab_size") and "num_codebooks" not in node.data
    if own and place is not None and whole(node.data.get("pad_token_id")):
        yield node.at("pad_token_id"), place


def mamba_width(node: Node) -> Iterator[tuple[Path, ...]]:
    names = ("mamba_d_head", "mamba_n_heads", "mamba_expand", "hidden_size")
    if all(whole(node.data.get(n)) for n in names) and node.data.get("mamba_d_ssm") is None:
        yield tuple(node.at(name) for name in names)
    names = ("head_dim", "num_heads", "expand", "hidden_size")
    if all(whole(node.data.get(n)) for n in (*names, "state_size")):
        yield tuple(node.at(name) for name in names)


def mamba_inner(node: Node) -> Iterator[tuple[Path, ...]]:
    names = ("mamba_d_ssm", "mamba_n_heads", "mamba_d_head")
    if all(whole(node.data.get(name)) for name in names):
        yield tuple(node.at(name) for name in names)


def mamba_groups(node: Node) -> Iterator[tuple[Path, ...]]:
    heads = _first(node.data, ("mamba_n_heads", "mamba_num_heads"))
    groups = _first(node.data, ("mamba_n_groups", "n_groups"))
    if heads and groups and node.data[groups] > 0:
        yield node.at(groups), node.at(heads)


def conv_groups(node: Node) -> Iterator[tuple[Path, ...]]:
    names = ("num_conv_pos_embedding_groups", "hidden_size")
    if all(whole(node.data.get(name)) and node.data[name] > 0 for name in names):
        yield tuple(node.at(name) for name in names)


# --- the table -----------------------------------------------------------------------------------


def _half(head: tuple[int, ...]) -> int:
    """Half of a rotated head, which is as wide as said or the width shared among the heads."""
    dim = head[0] if len(head) == 1 else head[0] // head[1]
    return dim // 2


def _inside(numbers: int | list[int], number: int) -> bool:
    """Whether outputs exist: of the layers 0 .. number, 0 what enters the first; or from behind."""
    return all(-number - 1 <= n <= number for n in _listed(numbers))


def _listed(numbers: int | list[int]) -> list[int]:
    return [numbers] if isinstance(numbers, int) else list(numbers)


def _cut(value: list[Any], number: int) -> str | None:
    return f"the first {_entries(number)}" if len(value) > number else _entries(number)


def _kept(numbers: list[int], number: int) -> str | None:
    inside = [n for n in numbers if n < number]
    return str(inside or [number - 1])


def _seen(numbers: int | list[int], number: int) -> str | None:
    return str([max(n, -number) if n < 0 else min(n, number) for n in _listed(numbers)])


def _ids(value: Any) -> list[int]:
    return list(ids_in("", value))


RELATIONS: tuple[Relation, ...] = (
    Relation(words="{0} must be at least 1", keys=depth, holds=lambda n: n >= 1),
    Relation(words="{0} must be at least 1", keys=sizes, holds=lambda n: n >= 1),
    Relation(
        words="{0} must divide {1}",
        keys=heads_and_width,
        holds=lambda heads, wide: wide % heads == 0 and heads <= wide,
    ),
    Relation(
        words="{0} must be a number for each of {1}, and divide it",
        keys=stage_heads_and_widths,
        holds=lambda heads, wide: (
            len(heads) >= len(wide)
            and not any(h < 1 or w % h for h, w in zip(heads, wide, strict=False))
        ),
        other=lambda heads, wide: str(
            [math.gcd(heads[min(stage, len(heads) - 1)], w) for stage, w in enumerate(wide)]
        ),
    ),
    Relation(
        words="{0} must divide {1}, doubled with each stage",
        keys=stage_heads_and_first_width,
        holds=lambda heads, wide: not any(wide * 2**i % h for i, h in enumerate(heads) if h > 0),
        other=lambda heads, wide: str([math.gcd(h, wide * 2**i) for i, h in enumerate(heads)]),
    ),
    Relation(
        words="{0} must be {1}: with latent attention each head has keys of its own",
        keys=latent_heads,
        holds=lambda kv_heads, heads: kv_heads == heads,
    ),
    Relation(
        words="{0} must divide {1}",
        keys=kv_heads_and_heads,
        holds=lambda kv_heads, heads: heads % kv_heads == 0,
    ),
    Relation(
        words="{0} must be {1} and {2} together",
        keys=latent_head_dim,
        holds=lambda dim, nope, rope: dim == nope + rope,
    ),
    Relation(
        words="{0} must be even: it is rotated in pairs",
        keys=rotated_head,
        holds=lambda dim: dim % 2 == 0,
    ),
    Relation(
        words="{0} / {1} must be even: a head is rotated in pairs",
        keys=rotated_share,
        holds=lambda wide, heads: wide // heads % 2 == 0,
        prefer=lambda wide, heads: wide % heads == 0,
    ),
    Relation(
        words="{0} must sum to half of {head}",
        keys=sections_and_head,
        holds=lambda sections, *head: sum(sections) == _half(head),
        other=lambda sections, *head: (
            str(shares(list(sections), _half(head))) if _half(head) >= len(sections) else None
        ),
    ),
    Relation(
        words="{0} must have an entry for each pair of {head}",
        keys=factors_and_head,
        holds=lambda factors, *head: len(factors) == _half(head),
        other=lambda factors, *head: _cut(factors, _half(head)),
    ),
    Relation(
        words="{0} must be even and at most {head}",
        keys=rotary_dim,
        holds=lambda dim, *head: dim % 2 == 0 and dim <= 2 * _half(head),
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=top_k_and_experts,
        holds=lambda top_k, *experts: top_k <= sum(experts),
    ),
    Relation(
        words="{0} must divide {1}",
        keys=groups_and_experts,
        holds=lambda groups, experts: experts % groups == 0,
    ),
    Relation(
        words="{0} must leave 2 of {1} to a group: its score is that of the best two",
        keys=group_of_two,
        holds=lambda groups, experts: groups == 1 or experts >= 2 * groups,
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=chosen_groups,
        holds=lambda chosen, groups: chosen <= groups,
    ),
    Relation(
        words="{0} must be at most what the chosen groups hold: {1} of {2}, with {3} in all",
        keys=top_k_in_chosen_groups,
        holds=lambda top_k, chosen, groups, experts: (
            chosen > groups or top_k > experts or top_k <= chosen * (experts // groups)
        ),
    ),
    Relation(
        words="{0} must have as many entries as {1}",
        keys=layer_types,
        holds=lambda value, number: len(value) == number,
        other=_cut,
    ),
    Relation(
        words="{0} must have an entry for each layer of {1}",
        keys=entries,
        holds=lambda value, number: len(value) >= number,
        other=_cut,
    ),
    Relation(
        words="{0} must be numbers of layers, below {1}",
        keys=layer_numbers,
        holds=lambda numbers, number: max(numbers) < number,
        other=_kept,
    ),
    Relation(
        words="{0} must be layers that there are: {1}",
        keys=layer_outputs,
        holds=_inside,
        other=_seen,
    ),
    Relation(
        words="{0} must be a layer that there is: {1}",
        keys=layers_seen,
        holds=_inside,
        prefer=lambda numbers, number: all(-number <= n <= number for n in _listed(numbers)),
        other=_seen,
        least=-1000,
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=dense_layers,
        holds=lambda dense, number: dense <= number,
        prefer=lambda dense, number: dense < number,  # or no layer has experts
        least=0,
    ),
    Relation(
        words="{0} must be below {1}",
        keys=shared_layers,
        holds=lambda shared, number: shared < number,
        least=0,
    ),
    Relation(
        words="{0} must be below {1}",
        keys=padding,
        holds=lambda pad, vocabulary: pad < vocabulary,
        least=0,
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=patch_and_image,
        holds=lambda patch, image: patch <= image,
    ),
    Relation(
        words="{0} x {1} must be {2} x {3}",
        keys=mamba_width,
        holds=lambda dim, heads, expand, wide: dim * heads == expand * wide,
    ),
    Relation(
        words="{0} must be {1} x {2}",
        keys=mamba_inner,
        holds=lambda inner, heads, dim: inner == heads * dim,
    ),
    Relation(
        words="{0} must divide {1}",
        keys=mamba_groups,
        holds=lambda groups, heads: heads % groups == 0,
    ),
    Relation(
        words="{0} must divide {1}",
        keys=conv_groups,
        holds=lambda groups, wide: wide % groups == 0,
    ),
)
# Only for ids that the recipe sets: those that it does not are moved into the vocabulary.
IDS = Relation(
    words="{0} must be below {1}",
    keys=token_ids,
    holds=lambda value, vocabulary: max(_ids(value)) < vocabulary,
    least=0,
)

__all__ = ["RELATIONS", "broken", "explained", "override", "possible"]
