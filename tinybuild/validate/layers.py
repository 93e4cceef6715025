"""Checks of a model's layers: each kind that the source has, and lists of layers that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinybuild.keys import NAMES, configs, counted, depths, measures, of_modality, says
from tinybuild.paths import Data, Path, get, mapping, texts, whole, wholes
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel

LISTS = ("kind of each layer", "cycle of layers", "something of each layer")
SWITCHES = ("enable_moe_block", "use_moe", "is_moe", "moe")  # False: no experts after all
EVERY = (  # so many layers, one has experts
    *("decoder_sparse_step", "encoder_sparse_step", "interleave_moe_layer_step"),
    *("moe_layer_freq", "moe_every_n_layers"),
)
# Lists and numbers of layers whose outputs are taken. Some count the embedding's output as well.
TAKEN = (*NAMES["layers seen"], "out_indices", "feature_layer", "intermediate_layers_indices")
_STACK = re.compile(r"(?:.*\.)?(?:layers?|blocks?|h|block)\.\d+$")
_ROUTED = re.compile(r"moe|sparse|expert")
_FEEDING = re.compile(r"expert|mlp|ffn|feed_forward|ff\b|fc1|DenseReluDense|moe")


@check("model")
def every_layer_kind(subject: Subject) -> Result | None:
    """Each kind of layer that the source has is in the model: by its lists, dense and with experts.

    Experts are looked for in the modules, not in the config: a model whose experts start at a layer
    that it does not have has none.
    """
    source = subject.source_config
    if source is None:
        return None
    full, tiny = source.to_dict(), subject.model.config.to_dict()
    kinds, faults = 0, list[str]()
    for path, names in _kinds(full):
        kept = get(tiny, path)
        if isinstance(kept, list):
            kinds += len(names)
            lost = [name for name in names if name not in kept]
            faults += [f"{'.'.join(path)} has no {', '.join(lost)}"] if lost else []
    for path, node in _models(full):
        dense = _dense_beside_experts(node)
        if dense is not None and mapping(tiny, path):
            kinds += 1 + dense
            faults += _expert_faults(subject.model, ".".join(path) or "the model", dense)
    if not kinds:
        return None
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{kinds} kinds",
        wanted="every kind of layer that the source has",
        values={"kinds": kinds, "faults": len(faults)},
        note="more layers, or first_k_dense_replace and the like smaller" if faults else "",
    )


def _models(data: Data) -> Iterator[tuple[Path, Data]]:
    """The configs of a tree that are whole models', the whole first."""
    return ((path, node) for path, node in configs(data) if not path or "model_type" in node)


def _kinds(data: Data) -> Iterator[tuple[Path, list[str]]]:
    """The lists of layer kinds of a config tree: path, and the distinct kinds in order."""
    for path, node in _models(data):
        for name, value in sorted(node.items()):
            if texts(value) and any(says(name, what) for what in LISTS):
                yield (*path, name), list(dict.fromkeys(value))


def _dense_beside_experts(node: Data) -> bool | None:
    """Whether a config asks for layers without experts beside those with some; None: no experts."""
    counts = [value for name, value in node.items() if measures(name) == "experts" and whole(value)]
    depth = max(depths(node), default=0)
    if max(counts, default=0) < 2 or not depth or any(node.get(n) is False for n in SWITCHES):
        return None
    kinds = node.get("mlp_layer_types")
    if counted(node):  # each layer is one thing: attention, or experts, or none of them
        feeding = [kind for kind in counted(node) if _FEEDING.search(kind)]
        if not any(map(_ROUTED.search, feeding)):
            return None
        kinds = feeding
    if isinstance(kinds, list) and kinds:
        return any(not _ROUTED.search(str(kind)) for kind in kinds)
    experts = _expert_numbers(node, depth)
    return len(experts) < depth if experts else None


def _expert_numbers(node: Data, depth: int) -> set[int]:
    """The numbers of the layers that have experts, as the config says it."""
    named, without = node.get("moe_layers"), node.get("mlp_only_layers")
    numbers = {n for n in named if whole(n)} if isinstance(named, list) and named else None
    numbers = {*range(depth)} if numbers is None else numbers
    starts = [value for name in NAMES["dense layers"] if whole(value := node.get(name))]
    periods = [value for name in EVERY if whole(value := node.get(name)) and value > 1]
    numbers = {n for n in numbers if all(n >= start for start in starts)}
    numbers = {n for n in numbers if all((n + 1) % period == 0 for period in periods)}
    return numbers - {*without} if wholes(without) else numbers


def _expert_faults(model: PreTrainedModel, where: str, dense: bool) -> list[str]:
    have = _expert_layers(model)
    if not any(have):
        return [f"{where} has experts in its source, and no layer with experts"]
    if dense and all(have):
        return [f"{where} has dense layers in its source, and only layers with experts"]
    return []


def _expert_layers(model: PreTrainedModel) -> list[bool]:
    """For each layer that has a feed-forward part, whether that has experts."""
    layers = [name for name, _ in model.named_modules() if _STACK.fullmatch(name)]
    outer = [n for n in layers if not any(n != o and n.startswith(o + ".") for o in layers)]
    inner = [_inside(model.get_submodule(name)) for name in outer]
    feeding = [names for names in inner if any(_FEEDING.search(n) for n in names)]
    return [any("expert" in n for n in names) for names in feeding]


def _inside(layer: Module) -> list[str]:
    """The names of its parameters; a feed-forward part that only its class's name tells is one."""
    named = [name for name, _ in layer.named_parameters()]
    return named + ["mlp" for part in layer.modules() if type(part).__name__.endswith("MLP")]


@check("model")
def layer_indexes(subject: Subject) -> Result | None:
    """Every list of layer indexes points inside the depth of what it indexes."""
    indexes, faults = 0, list[str]()
    for path, node in _models(subject.model.config.to_dict()):
        for name, value in sorted(node.items()):
            if not (name in TAKEN or says(name, "numbers of layers")):
                continue
            most = _depth_of(name, node)
            if most is None:
                continue
            numbers = [n for n in (value if isinstance(value, list) else [value]) if whole(n)]
            indexes += len(numbers)
            # 0 .. depth where hidden states are counted, the embedding among them.
            last = most if "feature" in name or name == "out_indices" else most - 1
            bad = [n for n in numbers if n > last or n < -most - 1]
            if bad:
                where = ".".join((*path, name))
                faults.append(f"{where} names {', '.join(map(str, bad))} of {most} layers")
    if not indexes:
        return None
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{indexes} indexes",
        wanted="indexes inside the depth",
        values={"indexes": indexes, "faults": len(faults)},
        note="smaller indexes in model.config, or more layers" if faults else "",
    )


def _depth_of(name: str, node: Data) -> int | None:
    """The depth of what a key of a config indexes: its own, or that of a part that it speaks of."""
    own = max(depths(node), default=None)
    if own is not None and not name.startswith(("vision", "audio", "out_")):
        return own
    spoken = [medium for medium in ("image", "audio") if of_modality(name, medium)]
    inner = [
        max(depths(part))
        for path, part in _models(node)
        if path and depths(part) and (not spoken or of_modality(".".join(path), *spoken))
    ]
    return max(inner, default=own)
