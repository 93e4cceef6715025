"""Checks that a model's config agrees: with the class that reads it, its source, its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tinybuild.config import reads
from tinybuild.feeding.inputs import continued
from tinybuild.keys import ids_in, is_id, mentioned
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Subject

Path = tuple[str, ...]


@check("model")
def ids_in_vocabulary(subject: Subject) -> Result | None:
    """Every token id of config, generation config and tokenizer is a row of the embedding."""
    embedding = subject.rows
    if embedding is None:
        return None
    ids: list[int] = []
    for name in ("config.json", "generation_config.json"):
        ids += mentioned(subject.file(name))
    if "tokenizer" in subject.facts:
        ids.append(max(subject.tokenizer.get_vocab().values()))
    largest = max(ids, default=-1)
    return Result.of(
        largest < embedding,
        measured=f"largest id {largest}",
        wanted=f"less than {embedding}",
        values={"largest_id": largest, "rows": embedding},
        note="" if largest < embedding else "set the id in model.config, or vocab_size higher",
    )


# --- overrides ------------------------------------------------------------------------------------


@check("model")
def overrides_read(subject: Subject) -> Result | None:
    """The model class reads every key that the recipe sets: none is merely stored."""
    import torch

    wishes, source = subject.wish["config"], subject.source_config
    if not wishes or source is None:
        return None
    _, seen = subject.anew
    config = subject.model.config
    left = reads.unread(config, source, wishes, seen)
    if left:
        # Some keys are read only when the model runs.
        with reads.recording() as more, torch.no_grad():
            subject.model(**subject.batch)
            continued(subject.model, [subject.batch], subject.seed)
        for kind, names in more.items():
            seen.setdefault(kind, set()).update(names)
        left = reads.unread(config, source, wishes, seen)
    faults, hints = [], []
    for path in left:
        faults.append(".".join(path))
        offers = reads.offers(config, path, seen)
        if offers:
            hints.append(f"{path[-1]}: did you mean {' or '.join(offers)}?")
    count = sum(1 for _ in leaves(wishes))
    return Result.of(
        not faults,
        measured=f"{type(subject.model).__name__} reads no {', '.join(faults)}"
        if faults
        else f"{count} read",
        wanted="every key of model.config read by the model class",
        values={"keys": count, "unread": len(faults)},
        note="; ".join(hints),
    )


def leaves(data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a config tree that is no mapping, with its path."""
    for key, value in data.items():
        name = str(key)  # labels have numbers
        if isinstance(value, Mapping) and not is_id(name):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


# --- ids ------------------------------------------------------------------------------------------


@check("model")
def coherent_ids(subject: Subject) -> Result | None:
    """Every id means the token that it meant in the source, wherever it stands.

    Ids that are equal in the source are equal here, in config, sub-configs and generation config;
    with a tokenizer whose source is known each is the id that its token has become; the tokens of
    images and sounds are the same in config, tokenizer and processor; a list stays a list.
    """
    before = dict(_ids(subject.source_file("config.json"), subject.source_config))
    after = dict(_ids(subject.file("config.json"), subject.model.config))
    for name, data, into in (
        ("generation_config.json", subject.source_file("generation_config.json"), before),
        ("generation_config.json", subject.file("generation_config.json"), after),
    ):
        into |= {(name, *path): value for path, value in leaves(data) if is_id(path[-1])}
    wished = {path for path, _ in leaves(subject.wish["config"])}
    given = {path[-1] for path in wished if is_id(path[-1])}
    faults = _moved(before, after, given)
    faults += _by_token(subject, before, after, given)
    faults += _placeholders(subject, after)
    faults += [
        f"{'.'.join(path)} was a list, and is {after[path]}"
        for path, value in sorted(before.items())
        if isinstance(value, list)
        and path in after
        and after[path] is not None
        and not isinstance(after[path], list)
        and path[-1] not in given
    ]
    if not after:
        return None
    return Result.of(
        not faults,
        measured="; ".join(faults[:5])
        + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        if faults
        else f"{len(after)} keys agree",
        wanted="equal ids where the source has equal ones, lists that stay lists",
        values={"keys": len(after), "faults": len(faults)},
    )


def _ids(data: Mapping[str, Any], config: Any) -> Iterator[tuple[Path, Any]]:
    """The ids of a config, with the class's defaults where the file says nothing, without those of
    sub-configs with a vocabulary of their own."""
    if config is not None:
        data = config.to_dict()
    size = _vocabulary(data)

    def walk(node: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
        if node.get("vocab_size", size) != size:
            return
        for key, value in node.items():
            name = str(key)
            if is_id(name):
                if value is not None:
                    yield (*path, name), value
            elif isinstance(value, Mapping):
                yield from walk(value, (*path, name))

    yield from walk(data, ())


def _vocabulary(data: Mapping[str, Any]) -> Any:
    if "vocab_size" in data:
        return data["vocab_size"]
    for name in ("text_config", "llm_config", "language_config", "decoder", "thinker_config"):
        if isinstance(data.get(name), Mapping):
            return _vocabulary(data[name])
    return None


def _pairs(path: Path, old: Any, new: Any) -> Iterator[tuple[int, int]]:
    """Ids that stand in the same place, before and after; where lengths differ nothing is known."""
    olds, news = list(ids_in(path[-1], old)), list(ids_in(path[-1], new))
    if len(olds) == len(news):
        yield from zip(olds, news, strict=True)


def _moved(before: Mapping[Path, Any], after: Mapping[Path, Any], given: set[str]) -> list[str]:
    """Equal ids of the source that are different ones now."""
    became: dict[int, dict[int, Path]] = {}
    for path, old in before.items():
        if path not in after or path[-1] in given:
            continue
        for one, other in _pairs(path, old, after[path]):
            became.setdefault(one, {}).setdefault(other, path)
    return [
        f"{old} of the source is "
        + " and ".join(f"{new} in {'.'.join(path)}" for new, path in sorted(news.items()))
        for old, news in sorted(became.items())
        if len(news) > 1
    ]


def _by_token(
    subject: Subject, before: Mapping[Path, Any], after: Mapping[Path, Any], given: set[str]
) -> list[str]:
    """Ids that are not what their token has become in the recipe's tokenizer."""
    facts = subject.facts.get("tokenizer", {}).get("ids")
    if not facts:
        return []
    moved = facts["moved"]
    faults = []
    for path, old in sorted(before.items()):
        if path not in after or path[-1] in given:
            continue
        for one, other in _pairs(path, old, after[path]):
            wanted = moved.get(str(one))
            if wanted is not None and wanted != other:
                faults.append(
                    f"{'.'.join(path)} is {other}, and the token that was {one} is {wanted}"
                )
    # Roles whose token the source does not name: the tokenizer's own.
    for path, value in sorted(after.items()):
        role = path[-1].removesuffix("_token_id")
        if path in before or path[-1] in given or role not in facts["special"]:
            continue
        if facts["special"][role] not in ids_in(path[-1], value):
            faults.append(
                f"{'.'.join(path)} is {value}, and the tokenizer's {role} is "
                f"{facts['special'][role]}"
            )
    return faults


_PLACE = re.compile(
    r"^(image|video|audio|boi|eoi|image_start|image_end|boa|eoa|vision_start)"
    r"_token_(id|index)$"
)


def _placeholders(subject: Subject, after: Mapping[Path, Any]) -> list[str]:
    """Tokens of images and sounds that differ between config, tokenizer and processor."""
    said: dict[str, dict[int, str]] = {}
    for path, value in sorted(after.items()):
        match = _PLACE.search(path[-1])
        if match and isinstance(value, int):
            said.setdefault(match[1], {}).setdefault(value, ".".join(path))
    for name in ("processor_config.json", "tokenizer_config.json"):
        data = subject.file(name)
        for kind in said if "tokenizer" in subject.facts else ():
            token = data.get(f"{kind}_token")
            token = token.get("content") if isinstance(token, Mapping) else token
            if not isinstance(token, str):
                continue
            named = f"{kind}_token" in subject.tokenizer.special_tokens_map
            if not (named and name == "processor_config.json"):
                # (There it is what stands in a text; what that is replaced by, the tokenizer says.)
                number = subject.tokenizer.convert_tokens_to_ids(token)
                if number is not None:
                    said[kind].setdefault(int(number), f"{name} ({token})")
    return [
        f"the {kind} token is "
        + " and ".join(f"{number} in {place}" for number, place in sorted(places.items()))
        for kind, places in sorted(said.items())
        if len(places) > 1
    ]


# --- layers ---------------------------------------------------------------------------------------

_KINDS = re.compile(r"(layer|block|mlp|attention|attn|ffn|mixer|layers_block)_?(types?|kinds?)$")
_DEPTH = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "encoder_layers"),
    *("decoder_layers", "num_decoder_layers", "num_encoder_layers", "vision_layers"),
)
_EXPERTS = re.compile(r"(num|n|moe_num)_?(local_|routed_)?experts$|^moe_num_experts$")


@check("model")
def every_layer_kind(subject: Subject) -> Result | None:
    """Each kind of layer that the source has is in the model: by its lists, dense and with experts.

    Experts are looked for in the modules, not in the config: a model whose experts start at a layer
    that it has not got has none.
    """
    source = subject.source_config
    if source is None:
        return None
    full, config = source.to_dict(), subject.model.config.to_dict()
    faults, counted = [], 0
    for path, names in _kinds(full):
        node = _at(config, path[:-1])
        if node is None:
            continue
        kept = node.get(path[-1])
        if not isinstance(kept, list):
            continue
        counted += len(names)
        lost = [str(name) for name in names if name not in kept]
        if lost:
            faults.append(f"{'.'.join(path)} has no {', '.join(lost)}")
    for path, node in _nodes(full):
        built = _at(config, path)
        if built is None:
            continue
        both = _dense_and_expert(node)
        if both is None:
            continue
        have = _expert_layers(subject.model)
        counted += 1 + both
        where = ".".join(path) or "the model"
        if not any(have):
            faults.append(f"{where} has experts in its source, and no layer with experts")
        elif both and all(have):
            faults.append(f"{where} has dense layers in its source, and only layers with experts")
    if not counted:
        return None
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{counted} kinds",
        wanted="every kind of layer that the source has",
        values={"kinds": counted, "faults": len(faults)},
        note="more layers, or first_k_dense_replace and the like smaller" if faults else "",
    )


def _nodes(data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    yield path, data
    for name, value in data.items():
        if isinstance(value, Mapping) and "model_type" in value:
            yield from _nodes(value, (*path, name))


def _at(data: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    node: Any = data
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else None


def _kinds(data: Mapping[str, Any]) -> Iterator[tuple[Path, list[Any]]]:
    """The lists of layer kinds of a config tree: path, and the distinct kinds in order."""
    for path, node in _nodes(data):
        for name, value in sorted(node.items()):
            if (
                _KINDS.search(name)
                and isinstance(value, list)
                and value
                and all(isinstance(item, str) for item in value)
            ):
                yield (*path, name), list(dict.fromkeys(value))


def _depth(node: Mapping[str, Any]) -> int | None:
    depths = [node[name] for name in _DEPTH if isinstance(node.get(name), int)]
    lists = node.get("depths") or node.get("layers")
    if isinstance(lists, list) and lists and all(isinstance(n, int) for n in lists):
        depths += [len(lists), sum(lists)]
    return max(depths, default=None)


def _dense_and_expert(node: Mapping[str, Any]) -> bool | None:
    """None: no experts. Otherwise whether there are layers without them, too."""
    counts = [
        value
        for name, value in node.items()
        if _EXPERTS.search(name) and isinstance(value, int) and not isinstance(value, bool)
    ]
    depth = _depth(node)
    if max(counts, default=0) < 2 or depth is None:
        return None
    for name in ("enable_moe_block", "use_moe", "is_moe", "moe"):
        if node.get(name) is False:
            return None
    lists = [node.get(name) for name in ("mlp_layer_types", "moe_layers", "mlp_only_layers")]
    kinds, listed_, dense = lists
    if isinstance(kinds, list) and kinds:
        return any(not re.search("moe|sparse|expert", str(kind)) for kind in kinds)
    with_experts = set(range(depth))
    if isinstance(listed_, list) and listed_:
        with_experts = {i for i in listed_ if isinstance(i, int)}
    for name in ("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers"):
        if isinstance(node.get(name), int):
            with_experts = {i for i in with_experts if i >= node[name]}
    for name in (
        "decoder_sparse_step",
        "interleave_moe_layer_step",
        "moe_layer_freq",
        "encoder_sparse_step",
        "moe_every_n_layers",
    ):
        step = node.get(name)
        if isinstance(step, int) and step > 1:
            with_experts = {i for i in with_experts if (i + 1) % step == 0}
    if isinstance(dense, list):
        with_experts -= set(dense)
    if not with_experts:
        return None
    return len(with_experts) < depth


_STACK = re.compile(r"(?:.*\.)?(?:layers?|blocks?|h|block)\.\d+$")


def _expert_layers(model: Any) -> list[bool]:
    """For each layer that has a feed-forward part, whether that has experts."""
    layers = [name for name, _ in model.named_modules() if _STACK.fullmatch(name)]
    outer = [n for n in layers if not any(n != o and n.startswith(o + ".") for o in layers)]
    found = []
    for name in outer:
        inner = [n for n, _ in model.get_submodule(name).named_parameters()]
        if any(_FEEDING.search(n) for n in inner):
            found.append(any("expert" in n for n in inner))
    return found


_FEEDING = re.compile(r"expert|mlp|ffn|feed_forward|ff\b|fc1|DenseReluDense|moe")

_INDEXES = re.compile(
    r"(layer|block|layers|blocks|attn|attention|stage|deepstack\w*)_?(index|indexes|indices|idx)$|"
    r"^(out_indices|vision_feature_layers?|cross_attention_layers|global_attn_indexes|"
    r"fullatt_block_indexes|vision_feature_select_layers?|mlp_only_layers|attn_layers|"
    r"moe_layers|no_rope_layers_interval|deepstack_visual_indexes|intermediate_layers_indices|"
    r"audio_feature_layer|full_attn_idxs|skip_layers|feature_layers?)$"
)


@check("model")
def layer_indexes(subject: Subject) -> Result | None:
    """Every list of layer indexes points inside the depth of what it indexes."""
    config = subject.model.config.to_dict()
    faults, counted = [], 0
    for path, node in _nodes(config):
        depth = _depth(node)
        for name, value in sorted(node.items()):
            if not _INDEXES.search(name) or name.endswith(("token_index", "token_id")):
                continue
            depths = [depth] if depth is not None else []
            if name.startswith(("vision", "audio", "out_")) or depth is None:
                inner = [_depth(n) for p, n in _nodes(node) if p and _about(name, p)]
                depths = [d for d in inner if d is not None] or depths
            if not depths:
                continue
            most = max(depths)
            indexes = value if isinstance(value, list) else [value]
            indexes = [i for i in indexes if isinstance(i, int) and not isinstance(i, bool)]
            counted += len(indexes)
            # 0 .. depth where hidden states are counted, the embedding among them.
            last = most if "feature" in name or name == "out_indices" else most - 1
            bad = [i for i in indexes if i > last or i < -most - 1]
            if bad:
                where = ".".join((*path, name))
                faults.append(f"{where} names {', '.join(map(str, bad))} of {most} layers")
    if not counted:
        return None
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{counted} indexes",
        wanted="indexes inside the depth",
        values={"indexes": counted, "faults": len(faults)},
        note="smaller indexes in model.config, or more layers" if faults else "",
    )


def _about(name: str, path: Path) -> bool:
    """Whether a sub-config is the one that an index key speaks of."""
    for kind in ("vision", "audio"):
        if name.startswith(kind):
            return any(kind in part for part in path)
    return True


__all__ = [
    *("coherent_ids", "every_layer_kind", "ids_in_vocabulary", "layer_indexes", "listed"),
    "overrides_read",
]
