"""Overrides merged into the real config object, with what the class derives from them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault, Fault, Finding, did_you_mean, nearest
from tinybuild.keys import BY_LAYER, CLASSES, GIVEN, LABELS, NAMES, OF_TIMM, is_id, says
from tinybuild.paths import Data, Json, Path, lists, mapping, merge

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# transformers writes these itself: nobody wishes them.
# How rotary positions are scaled, and what one way or another has of its own for that.
SCALED = ("rope_type", "type")
SCALING = (
    *("factor", "attention_factor", "original_max_position_embeddings", "truncate"),
    *("low_freq_factor", "high_freq_factor", "short_factor", "long_factor"),
    *("beta_fast", "beta_slow", "mscale", "mscale_all_dim"),
)
OURS = ("transformers_version", "_name_or_path", "model_type")

Key = tuple[str | int, ...]


def alike(name: str, known: Iterable[str]) -> list[str]:
    """The known keys that are most likely meant by a name: of the same dimension, then spelt alike,
    best first."""
    known = set(known)
    same = [n for row in NAMES.values() if name in row for n in row if n != name and n in known]
    same = list(dict.fromkeys(same))
    return (same + [n for n in nearest(name, known) if n not in same])[:3]


def refusals() -> tuple[type[Exception], ...]:
    """What a config class raises for values it does not take: wrong types come as its own."""
    from huggingface_hub.errors import StrictDataclassError

    plain = (TypeError, ValueError, KeyError, AttributeError, ImportError, ZeroDivisionError)
    return (StrictDataclassError, *plain)


def reason(error: BaseException) -> str:
    """The telling line of an error raised by transformers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def override(config: PreTrainedConfig, wishes: Data, implied: Data, key: Key) -> PreTrainedConfig:
    """A new config object: `config` with `implied` and then `wishes` merged in, deeply.

    `wishes` are the recipe's (`key` is where they stand in it); `implied` are the sizes and ids of
    the tokenizer. A value that the class itself derives from others (layer_types from the number of
    layers, head_dim from the width) is derived anew rather than kept, so that it follows.
    A sub-config for which the wishes name another model_type is first replaced, see `substituted`.
    Raises BuildFault for keys that the class does not have, for values it refuses, and for wishes
    that did not take effect.
    """
    config = substituted(config, wishes, key)
    findings = list(unknown(config, wishes, key))
    if findings:
        raise BuildFault(findings)
    arguments = requested(config, wishes, implied)
    try:
        made = type(config)(**arguments)
    except refusals() as error:
        raise BuildFault.of(
            f"{type(config).__name__} refuses these overrides: {reason(error)}",
            key=_named_in(str(error), wishes, key),
            hint="give a value of the type that the class expects"
            if "expected" in str(error)
            else "override the keys that it depends on as well",
        ) from None
    ignored = list(_ignored(made, canonical(config, wishes), key))
    if ignored:
        raise BuildFault(ignored)
    return made


def requested(config: PreTrainedConfig, wishes: Data, implied: Data) -> dict[str, Json]:
    """What `override` asks the class for, as nested mappings: without what the class derives."""
    return _arguments(config, merge(canonical(config, implied), canonical(config, wishes)))


def substituted(config: PreTrainedConfig, wishes: Data, key: Key = ()) -> PreTrainedConfig:
    """The config with another kind of sub-config wherever the wishes name one by its model_type.

    It is the default config of that type; what else the wishes say of it is left to `override`. A
    part of timm for which they name another architecture loses the sizes of the one before. The
    place may be empty (a backbone_config that is None). Raises BuildFault for a type that
    transformers does not know, and where the class does not take it.
    """
    changed: dict[str, PreTrainedConfig] = {}
    for name, value in wishes.items():
        if not isinstance(value, Mapping):
            continue
        place, sub = (*key, name), sub_config(config, name)
        model_type = value.get("model_type")
        if not isinstance(model_type, str) or (
            sub is not None and type(sub).model_type == model_type
        ):
            new = substituted(sub, value, place) if sub is not None else None
        elif sub is not None or _value(config, config.attribute_map.get(name, name)) is None:
            new = substituted(_default(model_type, (*place, "model_type")), value, place)
        else:
            new = None  # a plain mapping, whose key happens to be called so
        if new is not None and new is not sub:
            changed[config.attribute_map.get(name, name)] = new
    other = wishes.get(OF_TIMM, vars(config).get(OF_TIMM)) != vars(config).get(OF_TIMM)
    if not changed and not other:
        return config
    arguments = plain(config)
    if other:
        arguments.pop(GIVEN, None)  # sizes of another architecture
    arguments.update({name: new.to_dict() for name, new in changed.items()})
    try:
        made = type(config)(**arguments)
    except refusals() as error:
        raise _another(config, changed, key, reason(error)) from None
    if any(type(sub_config(made, name)) is not type(new) for name, new in changed.items()):
        raise _another(config, changed, key, "it makes something else of it")
    return made


def _default(model_type: str, key: Key) -> PreTrainedConfig:
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        raise BuildFault.of(
            f"transformers does not know the model type {model_type}",
            key=key,
            hint=did_you_mean(model_type, CONFIG_MAPPING.keys()),
        )
    return CONFIG_MAPPING[model_type]()


def _another(
    config: PreTrainedConfig, changed: Mapping[str, PreTrainedConfig], key: Key, why: str
) -> Fault:
    name, new = next(iter(changed.items()))
    return BuildFault.of(
        f"{type(config).__name__} does not take a config of {new.model_type} for {name}: {why}",
        key=(*key, name, "model_type"),
        hint="leave model_type out to change the sub-config that is there",
    )


def fields(config: PreTrainedConfig) -> set[str]:
    """The keys a config class has: its fields, their aliases, its settable properties.

    Also the ids that generation knows, such as decoder_start_token_id: a config may carry them
    without a field of its own (T5's does), and models read them there.
    """
    held = {name for name in config.to_dict() if not name.startswith("_")}
    return (held | _fields(_Said(config=config, text=str(type(config))))) - set(OURS)


@functools.lru_cache(maxsize=64)
def _fields(said: _Said) -> frozenset[str]:
    """Those of a class, which `said` is of."""
    from transformers import GenerationConfig

    config_class = type(said.config)
    known = {field.name for field in dataclasses.fields(config_class)} | set(
        config_class.attribute_map
    )
    known |= {
        name
        for name in dir(config_class)
        if isinstance(getattr(config_class, name, None), property)
        and getattr(config_class, name).fset is not None
    }
    known |= set(config_class.sub_configs)
    known |= {name for name in GenerationConfig().to_dict() if is_id(name)}
    # A class without a complete default has only its fields.
    with contextlib.suppress(*refusals()):
        known |= set(config_class().to_dict())
    return frozenset(name for name in known if not name.startswith("_"))


def sub_config(config: PreTrainedConfig, name: str) -> PreTrainedConfig | None:
    """The sub-config of that name, or None."""
    value = _value(config, config.attribute_map.get(name, name))
    return value if hasattr(value, "sub_configs") else None


def parts(config: PreTrainedConfig) -> Iterator[tuple[str, PreTrainedConfig]]:
    """The sub-configs of a config with their names."""
    named = ((name, sub_config(config, name)) for name in config.sub_configs)
    yield from ((name, sub) for name, sub in named if sub is not None)


def nodes(config: PreTrainedConfig, path: Path = ()) -> Iterator[tuple[Path, PreTrainedConfig]]:
    """Every config object of a tree with its path, the whole first."""
    yield path, config
    for name, sub in parts(config):
        yield from nodes(sub, (*path, name))


def _value(config: PreTrainedConfig, name: str) -> object:
    """A key's value; None where there is none. A key that differs by layer is what the whole says:
    asked for as an attribute it raises."""
    held = vars(config)
    return held[name] if name in held else getattr(config, name, None)


def unknown(config: PreTrainedConfig, wishes: Data, key: Key) -> Iterator[Finding]:
    """Wishes that no key of the class can take, each with the nearest names."""
    known = fields(config)
    for name, value in wishes.items():
        if says(name, "packing"):
            if value is not None:
                yield Finding(
                    what=f"{name} cannot be had: weights are drawn and written as plain numbers",
                    key=(*key, name),
                    hint="leave it out; a bundle's weights are packed after it is built, by the "
                    "tool that packs those of a checkpoint",
                )
            continue
        if name not in known:
            inside = [_nested(place, value) for place in _inside(config, name)]
            part, *below = name.split(".")
            if below and sub_config(config, part) is not None:
                inside = [_nested((part, *below), value)]
            yield Finding(
                what=f"{type(config).__name__} has no {name!r}",
                key=(*key, name),
                hint=f"did you mean {' or '.join(inside)}?" if inside else _meant(name, known),
            )
            continue
        if name in ("dtype", "torch_dtype"):
            what = f"{name} is not set here"
            yield Finding(what=what, key=(*key, name), hint="set model.dtype")
            continue
        same = config.attribute_map.get(name, name)
        if same != name and same in wishes:
            yield Finding(
                what=f"{name} and {same} are two names of one key of {type(config).__name__}",
                key=(*key, name),
                hint="give one of them",
            )
        sub = sub_config(config, name)
        if sub is not None:
            if isinstance(value, Mapping):
                inner = {n: v for n, v in value.items() if n != "model_type"}  # as `substituted`
                yield from unknown(sub, inner, (*key, name))
            else:
                yield Finding(
                    what=f"{name} is a config of its own ({type(sub).__name__}), not a value",
                    key=(*key, name),
                    hint=f"write {name}: {{...}} with the keys to change",
                )


def _nested(place: Path, value: Json) -> str:
    """A value in its place as a recipe has it: text_config: {hidden_size: 64}."""
    *parts, name = place
    said = "..." if isinstance(value, Mapping | list) else json.dumps(value, ensure_ascii=False)
    return "".join(f"{part}: {{" for part in parts) + f"{name}: {said}" + "}" * len(parts)


def _inside(config: PreTrainedConfig, name: str) -> Iterator[Path]:
    """The places of a key in the parts of a config, the text's first."""
    text = NAMES["text part"]
    for part, sub in sorted(parts(config), key=lambda one: one[0] not in text):
        if name in fields(sub):
            yield (part, name)
        else:
            yield from ((part, *place) for place in _inside(sub, name))


def _meant(name: str, known: set[str]) -> str:
    close = alike(name, known - BASE)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return did_you_mean(name, known - BASE) or did_you_mean(name, known)


# Keys of every config, rarely meant: they are left out of lists of known names.
BASE = frozenset(
    ("return_dict", "output_hidden_states", "output_attentions", "chunk_size_feed_forward")
)


def canonical(config: PreTrainedConfig, wishes: Data) -> dict[str, Json]:
    """The same wishes under the class's own names (hidden_size -> n_embd for GPT-2), without what
    is never kept (quantization_config: null)."""
    config = substituted(config, wishes)
    result = {}
    for name, value in wishes.items():
        if says(name, "packing"):
            continue
        sub = sub_config(config, name)
        if sub is not None and isinstance(value, Mapping):
            value = canonical(sub, value)
        result[config.attribute_map.get(name, name)] = value
    return result


def _arguments(config: PreTrainedConfig, wanted: Data) -> dict[str, Json]:
    """Constructor arguments for `config` with `wanted` merged in and derived values left out."""
    arguments, wanted = plain(config), _labelled(wanted)
    if GIVEN in arguments and {"num_labels", *LABELS} & wanted.keys():
        arguments.pop(CLASSES, None)  # which follows
    if wanted:
        for name in _derived(
            _Said(config=config, text=f"{type(config)} {arguments}"), frozenset(wanted)
        ):
            del arguments[name]
    for name, value in copy.deepcopy(dict(wanted)).items():  # classes write into what they get
        sub = sub_config(config, name)
        if sub is not None and isinstance(value, Mapping):
            # Of the class: upstreams name another one here (idefics in a vision_config).
            arguments[name] = {**_arguments(sub, value), "model_type": type(sub).model_type}
        elif isinstance(value, Mapping) and name not in (BY_LAYER, *LABELS):
            arguments[name] = merge(_rescaled(mapping(arguments.get(name)), value), value)
        else:
            arguments[name] = value
    return arguments


def _rescaled(held: Data, given: Data) -> Data:
    """What is held without what belongs to another way to scale rotary positions than the given
    one, such as longrope's lists of factors."""
    before, after = ({of[n] for n in SCALED if isinstance(of.get(n), str)} for of in (held, given))
    if before and after and before != after:
        held = {name: value for name, value in held.items() if name not in (*SCALED, *SCALING)}
    return {
        name: _rescaled(value, mapping(given.get(name))) if isinstance(value, Mapping) else value
        for name, value in held.items()
    }


def _labelled(wanted: Data) -> Data:
    """The wishes with both sides of their labels, which are a whole: of one side the other is made.
    A number alone gives the class's own names."""
    ids, names = (wanted.get(side) for side in LABELS)
    if isinstance(ids, Mapping) and names is None and all(str(key).isdecimal() for key in ids):
        return {**wanted, "label2id": {str(name): int(key) for key, name in ids.items()}}
    if isinstance(names, Mapping) and ids is None:
        return {**wanted, "id2label": {str(key): name for name, key in names.items()}}
    return wanted


@dataclass(frozen=True, kw_only=True)
class _Said:
    """A config by what it says."""

    config: PreTrainedConfig = field(compare=False)
    text: str


@functools.lru_cache(maxsize=64)
def _derived(said: _Said, wanted: frozenset[str]) -> Sequence[str]:
    """The keys that the class fills in with the same values when they are not given.

    Each is tried by itself: several at once would take along what is derived of one another
    (is_decoder and add_cross_attention of a decoder). A config of many keys takes a tenth of a
    second, and is asked for often.
    """
    config, config_class, full = said.config, type(said.config), plain(said.config)
    left = dict(full)
    dropped = []
    for name in full:
        if name in wanted or sub_config(config, name) is not None:
            continue
        trial = {k: v for k, v in left.items() if k != name}
        try:
            with _unspelled():
                same = all(plain(made) == full for made in _ways(config_class, trial))
        except refusals():
            same = False
        if same:
            left = trial
            dropped.append(name)
    return dropped


@contextlib.contextmanager
def _unspelled() -> Iterator[None]:
    """Configs are not spelled out: the validators of their fields do that for each kind that a part
    is not, in the message of an error that nobody sees."""
    from transformers import PreTrainedConfig

    original = PreTrainedConfig.__repr__
    PreTrainedConfig.__repr__ = object.__repr__
    try:
        yield
    finally:
        PreTrainedConfig.__repr__ = original


def _ways(config_class: type[PreTrainedConfig], arguments: Data) -> Iterator[PreTrainedConfig]:
    """The config made as itself and, where the class has a way of its own, as a part of another."""
    yield config_class(**arguments)
    if "from_dict" in vars(config_class):  # timm's, which wants its number of labels there
        yield config_class.from_dict(dict(arguments))


def plain(config: PreTrainedConfig) -> dict[str, Json]:
    """What a config says, as its class's constructor takes it."""
    said = {name: value for name, value in config.to_dict().items() if name not in OURS}
    held = vars(config)
    if LABELS[0] in said or not held.get(LABELS[0]):
        return said
    # timm's, which writes its labels under a name that its constructor does not know; their number
    # is read where it is a part of another's.
    kept = {n: v for n, v in said.items() if n in held or n == CLASSES}
    return kept | {side: held.get(side) for side in LABELS}


def _ignored(config: PreTrainedConfig, wishes: Data, key: Key) -> Iterator[Finding]:
    """Wishes that the class replaced by something else while it was made."""
    for name, value in wishes.items():
        held = _value(config, name)
        if isinstance(value, Mapping):
            if hasattr(held, "sub_configs"):
                yield from _ignored(held, value, (*key, name))
                continue
            if _holds(held, value):
                continue
        held = lists(held)
        if held != lists(value) and str(held) != str(value):
            yield Finding(
                what=f"{type(config).__name__} makes {held!r} of {name}: {value!r}",
                key=(*key, name),
                hint="another key decides it: change that one",
            )


def _holds(held: object, wanted: object) -> bool:
    """Whether a plain mapping holds all of another; keys may have become numbers (id2label)."""
    if not isinstance(held, Mapping) or not isinstance(wanted, Mapping):
        return held == wanted
    named = {str(name): value for name, value in held.items()}
    return all(str(n) in named and _holds(named[str(n)], v) for n, v in wanted.items())


def _named_in(message: str, wishes: Data, key: Key) -> Key:
    """The override that an error message speaks of, or the section as a whole."""
    for name, value in wishes.items():
        if isinstance(value, Mapping):
            inner = _named_in(message, value, (*key, name))
            if inner != (*key, name):
                return inner
        if name in message:
            return (*key, name)
    return key
