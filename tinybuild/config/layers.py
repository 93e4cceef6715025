"""Which layers are kept: one of each distinct kind; lists and numbers by layer are cut alike."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tinybuild.config.overrides import BY_LAYER
from tinybuild.config.tree import Path, Tree, number_or, whole, whole_list
from tinybuild.keys import is_id

DEPTH = re.compile(
    r"(?:[a-z0-9]+_)*(num|n)_(?:[a-z0-9]+_)*layers?|(?:[a-z0-9]+_)*(encoder|decoder)_layers|depth|"
    r"(?:[a-z0-9]+_)*depth|layers|[lrx]_layers|num_block_layers|num_blocks|"
    r"num_self_attends_per_block|(?:[a-z0-9]+_)*prenet_layers"
)
NO_DEPTH = re.compile(
    r"num_(conv|feat_extract|residual|sparse)_(?:[a-z0-9]+_)*layers|.*kv_shared_layers|"
    r"max_window_layers|num_nextn_predict_layers|max_depth|iou_head_depth|num_feat_extract_layers|"
    r"num_mtp_layers|cross_attention_layers|num_fpn_layers|.*_conv_layers|num_upsample_layers|"
    r"num_layers_per_stack|.*wavenet_layers"
)
# Layers whose outputs are taken: as many are needed as the list is long.
TAKEN = re.compile(
    r".*(out_indices|hook_ids|target_layers|layers_indices|state_indices|return_idx|"
    r"extract_layers|target_layer_ids|feature_layers?|backbone_indices)"
)
# Layers that are of another kind than those that are not in the list.
MEMBERS = re.compile(
    r".*(_indexes|_indices|_layers|_layer_ids|_layer_idxs|attention_blocks|_ids|_idxs|full_attn_idxs)"
)


# The first (or last) so many layers are of another kind.
FIRST = re.compile(
    r"first_k_dense_replace|num_first_(?:[a-z0-9]+_)*layers|max_window_layers|"
    r"(num|n)_dense_layers|moe_layer_start_index|num_hash_layers"
)
PLACE = re.compile(r"(?:[a-z0-9]+_)*layer_(id|idx|index)")  # a layer after which something comes
SPARSE = re.compile(r"num_sparse_(?:[a-z0-9]+_)*layers")  # spread evenly among the dense
LAST = re.compile(r"num_kv_shared_layers|num_last_(?:[a-z0-9]+_)*layers")


def depth(tree: Tree) -> None:
    """One layer of each distinct kind, the lists by layer and the layer numbers cut alike."""
    towers = [
        (path, name, node[name])
        for path, node in tree.nodes()
        for name in node
        if is_depth(name, node[name])
    ]
    for path, node in tree.nodes():
        stacks: dict[tuple[int, int | None], list[str]] = {}
        for name, value in node.items():
            if is_depth(name, value):
                number = number_or(tree.was((*path, name)), value)
                stacks.setdefault((number, tree.fixed.get((*path, name))), []).append(name)
        elsewhere = _taken_elsewhere(tree, path, towers)
        for (number, wished), names in sorted(stacks.items(), key=repr, reverse=True):
            kept = _layers(tree, path, node, number, wished, elsewhere)
            for name in names:
                tree.set((*path, name), len(kept), "rule depth: one layer of each kind")
            for name, value in list(node.items()):
                if PLACE.fullmatch(name) and whole(value) and 0 < value < number:
                    place = value * len(kept) // number
                    tree.set((*path, name), place, "rule depth: the kept layers'")
        for name, value in list(node.items()):
            if SPARSE.fullmatch(name) and whole(value) and value > 1:
                tree.set((*path, name), 1, "rule depth: one layer of each kind")


def is_depth(name: str, value: Any) -> bool:
    """Whether a key says how many layers a stack has."""
    named = DEPTH.fullmatch(name) and not NO_DEPTH.fullmatch(name)
    return bool(named) and whole(value) and value > 0


def _is_taken(name: str, value: Any, most: int) -> bool:
    named = TAKEN.fullmatch(name) and whole_list(value)
    return bool(named) and all(-most <= item <= most for item in value)


def _taken_elsewhere(
    tree: Tree, tower: Path, towers: list[tuple[Path, str, int]]
) -> list[tuple[Path, list[int]]]:
    """Lists of taken layers that stand in another config than the layers they number.

    They belong to the tower beside them that sees or hears, and has that many layers.
    """
    found_lists = []
    for path, node in tree.nodes():
        for name, value in node.items():
            if not (TAKEN.fullmatch(name) and whole_list(value)):
                continue
            if any(place == path and _is_taken(name, value, n) for place, _, n in towers):
                continue
            beside = [
                place
                for place, _, number in towers
                if place
                and re.search(r"vision|visual|image|patch|backbone|audio|encoder", place[-1])
                and _is_taken(name, value, number)
            ]
            if beside and beside[0] == tower:
                found_lists.append(((*path, name), list(value)))
    return found_lists


def _layers(
    tree: Tree,
    path: Path,
    node: dict[str, Any],
    number: int,
    wished: int | None,
    elsewhere: list[tuple[Path, list[int]]],
) -> list[int]:
    """The layers to keep of `number`; cuts the lists and numbers that speak of layers alike.

    `wished` is the recipe's own depth: as many, the kinds first, and the pattern again where that
    is deeper than the source.
    """
    by_layer = {
        name: value
        for name, value in node.items()
        if isinstance(value, list | tuple)
        and len(value) == number > 1
        and not TAKEN.fullmatch(name)
        and not is_id(name)
        and not numbers_layers(name, value, number)
    }
    members = {name: value for name, value in node.items() if numbers_layers(name, value, number)}
    taken = {
        (*path, name): list(value) for name, value in node.items() if _is_taken(name, value, number)
    }
    taken.update(elsewhere)
    bounds = {
        name: value if FIRST.fullmatch(name) else number - value
        for name, value in node.items()
        if whole(value) and 0 < value <= number and (FIRST.fullmatch(name) or LAST.fullmatch(name))
    }

    given = {int(index): value for index, value in (node.get(BY_LAYER) or {}).items()}
    own = _smaller(given, node)

    def mark(index: int) -> str:
        parts = [repr(own.get(index))] + [repr(value[index]) for value in by_layer.values()]
        parts += [str(index in value) for value in members.values()]
        parts += [str(index < bound) for bound in bounds.values()]
        return "|".join(parts)

    kinds: dict[str, int] = {}
    for index in range(number):
        kinds.setdefault(mark(index), index)
    kept = sorted(kinds.values())
    # The last layer keeps its kind: some classes look at it (shared keys, norms).
    first = kinds[mark(number - 1)]
    if first != kept[-1]:
        kept.remove(first)
        kept.append(number - 1)
    least = tree.layers or 2
    least = max(least, *(len(set(value)) for value in taken.values()), 0)
    if not by_layer:
        least = max(least, _period(node), *(len(cycle) for cycle in _cycles(node, number)), 0)
    extra = [index for index in range(number) if index not in kept]
    if wished is not None:
        kept = sorted([*kept, *extra][:wished])
        kept += [index % number for index in range(len(kept), wished)]
    else:
        kept = sorted([*kept, *extra[: max(0, min(least, number) - len(kept))]])
    reason = "rule depth: the kept layers'"
    for name, value in by_layer.items():
        tree.set((*path, name), [value[index] for index in kept], reason)
    for name, value in members.items():
        places = [place for place, index in enumerate(kept) if index in value]
        tree.set((*path, name), places, reason)
    if own:
        cut = {place: own[index] for place, index in enumerate(kept) if index in own}
        tree.set((*path, BY_LAYER), cut, reason)
    for name, bound in bounds.items():
        before = sum(index < bound for index in kept)
        new = before if FIRST.fullmatch(name) else len(kept) - before
        tree.set((*path, name), new, reason)
    for place, numbers in taken.items():
        tree.set(place, _spread(numbers, number, len(kept)), "rule depth: layers taken")
    return kept


def _smaller(by_layer: Mapping[int, Any], node: Mapping[str, Any]) -> dict[int, Any]:
    """What differs by layer, with sizes that are the whole's where the whole was cut."""
    made: dict[int, Any] = {}
    for index, given in by_layer.items():
        made[index] = {
            name: min(value, node[name]) if whole(value) and whole(node.get(name)) else value
            for name, value in given.items()
        }
    return made


def numbers_layers(name: str, value: Any, number: int) -> bool:
    """Whether a list holds the numbers of layers of another kind: rising, below the depth."""
    if not whole_list(value) or not MEMBERS.fullmatch(name) or TAKEN.fullmatch(name):
        return False
    rising = all(a < b for a, b in itertools.pairwise(value))
    return rising and not is_id(name) and value[0] >= 0 and value[-1] < number


def _cycles(node: Mapping[str, Any], number: int) -> Iterator[list[str]]:
    """Lists of kinds shorter than the depth, which repeat."""
    for name, value in node.items():
        if not isinstance(value, list | tuple) or not CYCLE.fullmatch(name):
            continue
        if 1 < len(value) < number and all(isinstance(item, str) for item in value):
            yield list(value)


CYCLE = re.compile(r"block_types|attn_layers|.*(layer|block)_(types?|pattern)")
PERIODS = re.compile(
    r".*(_period|_interval|_step|_every|_freq|_frequency|_every_n(_layers)?|_pattern|"
    r"layer_freq|_every_k_layers|every_n_layers|_layer_step)"
)


def _period(node: Mapping[str, Any]) -> int:
    """The least depth that shows every kind where each n-th layer is of another."""
    most = 0
    for name, value in node.items():
        if whole(value) and 1 < value <= 8 and PERIODS.fullmatch(name):
            offset = node.get(re.sub(r"_period$", "_offset", name))
            most = max(most, (offset + 1) if whole(offset) and "_period" in name else value)
    return most


def _spread(taken: list[int], before: int, now: int) -> list[int]:
    """Numbers of layers in a shallower model: as many, in order, the last near the end.

    A layer's states have number 0 for what goes into the first layer; negative numbers count from
    the end, and still do afterwards.
    """
    places = [item if item >= 0 else before + 1 + item for item in taken]
    unique = sorted(set(places))
    top = now - (before - unique[-1] if unique[-1] >= before - 1 else 1)
    rank = {item: max(top - (len(unique) - 1 - n), 0) for n, item in enumerate(unique)}
    return [
        rank[place] if item >= 0 else rank[place] - now - 1
        for item, place in zip(taken, places, strict=True)
    ]
