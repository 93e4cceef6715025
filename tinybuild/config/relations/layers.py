"""Relations of layers and experts: numbers of layers exist, lists have an entry for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tinybuild.config.relations.relation import Node, Places, Relation, cut, is_list
from tinybuild.keys import NAMES, first, says
from tinybuild.paths import Json, whole, wholes

# --- experts --------------------------------------------------------------------------------------


def top_k_and_experts(node: Node) -> Iterator[Places]:
    experts = tuple(map(node.at, node.measuring("experts")))
    for name in node.measuring("top k") if experts else ():
        yield (node.at(name), *experts)


def _choice(*wanted: str) -> Callable[[Node], Iterator[Places]]:
    """The first key of each of these measures, where experts are chosen in groups."""

    def places(node: Node) -> Iterator[Places]:
        names = [next(iter(node.measuring(measure)), None) for measure in wanted]
        groups = node.measuring("groups") and node.measuring("experts")
        if groups and node.data.get("topk_method") != "greedy":
            ours = tuple(node.at(name) for name in names if name is not None)
            if len(ours) == len(wanted):
                yield ours

    return places


def group_of_two(node: Node) -> Iterator[Places]:
    # A group's score is the sum of its best two; only where the class takes the best one less do.
    if "topk_method" not in node.data:
        yield from _choice("groups", "experts")(node)


EXPERTS: tuple[Relation, ...] = (
    Relation(
        words="{0} must be at most {1}",
        keys=top_k_and_experts,
        holds=lambda top_k, *experts: top_k <= sum(experts),
    ),
    Relation(
        words="{0} must divide {1}",
        keys=_choice("groups", "experts"),
        holds=lambda groups, experts: experts % groups == 0,
    ),
    Relation(
        words="{0} must leave 2 of {1} to a group: its score is that of the best two",
        keys=group_of_two,
        holds=lambda groups, experts: groups == 1 or experts >= 2 * groups,
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=_choice("top groups", "groups"),
        holds=lambda chosen, groups: chosen <= groups,
    ),
    Relation(
        words="{0} must be at most what the chosen groups hold: {1} of {2}, with {3} in all",
        keys=_choice("top k", "top groups", "groups", "experts"),
        holds=lambda top_k, chosen, groups, experts: (
            chosen > groups or top_k > experts or top_k <= chosen * (experts // groups)
        ),
    ),
)

# --- layers ---------------------------------------------------------------------------------------


def _with_depth(fits: Callable[[str, Json], bool]) -> Callable[[Node], Iterator[Places]]:
    """Keys that fit, each with the depth of its config."""

    def places(node: Node) -> Iterator[Places]:
        deep = node.first("depth")
        if deep is None or node.number(deep) < 1:
            return
        for name, value in node.data.items():
            if fits(name, value):
                yield node.at(name), node.at(deep)

    return places


def layers_seen(node: Node) -> Iterator[Places]:
    """The layers of the tower that sees, whose outputs the text gets: they stand beside it."""
    tower = node.data.get("vision_config")
    deep = first(tower, "depth") if isinstance(tower, Mapping) else None
    for name in NAMES["layers seen"] if deep is not None else ():
        assert deep is not None
        value = node.data.get(name)
        if whole(value) or wholes(value):
            yield node.at(name), node.at("vision_config", deep)


def _inside(numbers: int | list[int], depth: int) -> bool:
    """Whether outputs exist: of the layers 0 .. depth, 0 what enters the first; or from behind."""
    return all(-depth - 1 <= n <= depth for n in _listed(numbers))


def _listed(numbers: int | list[int]) -> list[int]:
    return [numbers] if isinstance(numbers, int) else list(numbers)


def _kept(numbers: list[int], depth: int) -> str:
    return str([n for n in numbers if n < depth] or [depth - 1])


def _nearest(numbers: int | list[int], depth: int) -> str:
    return str([max(n, -depth) if n < 0 else min(n, depth) for n in _listed(numbers)])


LAYERS: tuple[Relation, ...] = (
    Relation(
        words="{0} must have as many entries as {1}",
        keys=_with_depth(lambda name, value: says(name, "kind of each layer") and is_list(value)),
        holds=lambda value, depth: len(value) == depth,
        other=cut,
    ),
    Relation(
        words="{0} must have an entry for each layer of {1}",
        keys=_with_depth(
            lambda name, value: (
                says(name, "something of each layer") and is_list(value) and bool(value)
            )
        ),
        holds=lambda value, depth: len(value) >= depth,
        other=cut,
    ),
    Relation(
        words="{0} must be numbers of layers, below {1}",
        keys=_with_depth(lambda name, value: says(name, "numbers of layers") and wholes(value)),
        holds=lambda numbers, depth: max(numbers) < depth,
        other=_kept,
    ),
    Relation(
        words="{0} must be layers that exist: {1}",
        keys=_with_depth(lambda name, value: says(name, "numbers of outputs") and wholes(value)),
        holds=_inside,
        other=_nearest,
    ),
    Relation(
        words="{0} must be a layer that exists: {1}",
        keys=layers_seen,
        holds=_inside,
        prefer=lambda numbers, depth: all(-depth <= n <= depth for n in _listed(numbers)),
        other=_nearest,
        least=-1000,
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=_with_depth(lambda name, value: name in NAMES["dense layers"] and whole(value)),
        holds=lambda dense, depth: dense <= depth,
        prefer=lambda dense, depth: dense < depth,  # or no layer has experts
        least=0,
    ),
    Relation(
        words="{0} must be below {1}",
        keys=_with_depth(lambda name, value: name == "num_kv_shared_layers" and whole(value)),
        holds=lambda shared, depth: shared < depth,
        least=0,
    ),
)
