"""A model type or class that transformers does not know, matched with one that it does, by rule."""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.config import heads
from tinybuild.errors import BuildFault, Fault, nearest
from tinybuild.keys import NAMES, is_id
from tinybuild.paths import Data, Json, mapping, whole

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ALIKE = 0.45  # of what a config says must be declared by the class that it is matched with
UNSAID, RELATED, COPIED = 0.3, 0.1, 0.05
# "# Copied from transformers.models.bert.modeling_bert", "from ..llama.modeling_llama import"
ORIGIN = re.compile(r"(?:transformers\.models\.|from \.\.)(\w+)\.mod")
FLAT = 3  # so many keys of the text alone, and a config is the text's
KEPT = ("dtype", "torch_dtype", "tie_word_embeddings")  # what a whole says of its text part as well
BUILT_ALIKE = (
    "copy the source to a folder, name it (source: {path: FOLDER}), and give its config.json the "
    "model_type of a type that is built alike"
)
OF_TYPE = "rule type"
OF_CLASS = "rule class"


def matched(data: Data) -> tuple[dict[str, Json], dict[str, str]]:
    """A config (JSON data) whose type transformers knows, and the reason of each key at its top
    that was changed for that; the key "" says that the whole is now a part of it.

    A type is matched by its spelling, by the class that `architectures` names, by the type of the
    text part, by the keys that a config class declares; of types that declare as much, it is the
    one that others were copied from. Raises BuildFault where nothing fits.
    """
    from transformers import CONFIG_MAPPING

    made, reasons = dict(data), dict[str, str]()
    given = data.get("model_type")
    if not isinstance(given, str) or given not in CONFIG_MAPPING:
        made, reasons = _typed(data, given if isinstance(given, str) else "")
    part = _flat(made)
    if part is not None:
        made, more = part
        reasons |= more
    return made, reasons


def named(config: PreTrainedConfig) -> str:
    """Gives a config the name of a class that is made from it, where the one that it names is not
    known or is another type's; the reason, or "" where it stays.

    A class is matched by its spelling, by its head (ForCausalLM), or by what its head does.
    """
    model_type, names = config.model_type, _names(config.architectures)
    if not names or _takes(names[0], type(config)):
        return ""
    known = {_squeezed(name): name for name in _offered(type(config))}
    spelt = known.get(_squeezed(names[0]))
    if spelt is not None:
        config.architectures = [spelt]
        return f"{OF_CLASS}: transformers has no {names[0]}, and spells it {spelt}"
    head = re.search(r"(For[A-Z]\w*|LMHeadModel|Model)$", names[0])
    same = [name for name in known.values() if head and name.endswith(head[0])]
    taken = f"{same[0]} has the same head" if same else "auto takes another"
    if not same and head:
        work = re.split(r"(?=[A-Z])", head[0])[-1]  # ForSpeechClassification is a classification
        alike = [name for name in known.values() if name.endswith(work)]
        same = difflib.get_close_matches(names[0], alike, n=1)
        taken = f"{same[0]} is the nearest {work}" if same else taken
    config.architectures = same[:1] or None
    return f"{OF_CLASS}: {model_type} has no {names[0]}; {taken}"


def _typed(data: Data, given: str) -> tuple[dict[str, Json], dict[str, str]]:
    """The config with a type that is known, or its text part that has one."""
    unknown = f"{OF_TYPE}: transformers does not know {given or 'a config without model_type'}"
    spelt = _types().get(_squeezed(given))
    if spelt is not None:
        return {**data, "model_type": spelt}, {"model_type": f"{unknown}, and spells it {spelt}"}
    for name in _names(data.get("architectures")):
        _, model_type = _classes().get(_squeezed(name), (name, _type_of(name)))
        if model_type:
            reason = f"{unknown}; {name} is a class of {model_type}"
            return {**data, "model_type": model_type}, {"model_type": reason}
    for name in NAMES["text part"]:
        part = mapping(data, (name,))
        if part:
            try:
                inner, _ = matched(part)
            except BuildFault:
                continue
            above = {key: data[key] for key in data if key in KEPT or is_id(key)}
            reason = f"{unknown}; its {name} is of {inner['model_type']}"
            return {**above, **inner}, {"": reason, "model_type": reason}
    alike = _alike(data)
    share, best = alike[0]
    if share < ALIKE:
        raise _strange(data, given, alike)
    reason = f"{unknown}; {best} declares {share:.0%} of its keys"
    return {**data, "model_type": best}, {"model_type": reason}


def _strange(data: Data, given: str, alike: list[tuple[float, str]]) -> Fault:
    types = _types().values()
    close = nearest(given, types)
    first = sorted(alike, key=lambda one: -one[0])[:3]
    likest = ", ".join(f"{name} ({share:.0%})" for share, name in first if share) or "none"
    what = (
        f"the source's config.json has a model type that transformers does not know: {given}"
        if given
        else "the source's config.json names no model_type"
    )
    return BuildFault.of(
        f"{what}; none of its {len(set(types))} types fits: nearest by name "
        f"{', '.join(close) or 'none'}; by keys {likest}",
        key=("source",),
        hint=BUILT_ALIKE,
    )


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _squeezed(name: str) -> str:
    """A name without what people write differently: DeepSeek-V3 is deepseek_v3."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@functools.cache
def _types() -> Mapping[str, str]:
    """The model types of transformers by their squeezed names."""
    from transformers import CONFIG_MAPPING

    return {_squeezed(name): name for name in CONFIG_MAPPING}


@functools.cache
def _classes() -> Mapping[str, tuple[str, str]]:
    """The model classes of transformers by their squeezed names: the name, and a type it is for."""
    return {
        _squeezed(name): (name, model_type)
        for model_type in reversed(heads.types())
        for name in heads.named(model_type)
    }


def _type_of(name: str) -> str:
    """The type of a class that transformers has, and maps to no type; "" where it has none."""
    import transformers

    model = getattr(transformers, name, None)
    if model is None or getattr(model, "is_dummy", False):
        return ""
    model_type = getattr(getattr(model, "config_class", None), "model_type", "")
    return model_type if model_type in transformers.CONFIG_MAPPING else ""


def _alike(data: Data) -> list[tuple[float, str]]:
    """(share, type) of the types that have a class, best first: how much of what this config says
    and what a config of the type may say is the same. Rare keys weigh more."""
    declared = _declared()
    often = Counter(name for names in declared.values() for name in names)
    given = {name for name in data if not name.startswith("_")} - _common()

    def weight(names: Iterable[str]) -> float:
        return sum(math.log(1 + len(declared) / (1 + often[name])) for name in names)

    causal = any("CausalLM" in name for name in _names(data.get("architectures")))
    shares, copied = [], _copied()
    for model_type, names in declared.items():
        if causal and "causal-lm" not in heads.of_type(model_type):
            continue
        same = weight(given & names)
        own = weight(name for name in given if often[name])
        # What the class has and the config does not say counts less: defaults are often left out.
        share = same / (own + UNSAID * weight(names - given) or 1)
        shares.append((share + RELATED * _related(data, model_type), model_type))

    def worse(one: tuple[float, str]) -> tuple[bool, bool, float, int, str]:
        share, name = one
        first = share + COPIED * math.log1p(copied[_squeezed(name)])
        return share < ALIKE, not _related(data, name), -first, len(name), name

    return sorted(shares, key=worse) or [(0.0, "")]


@functools.cache
def _copied() -> Counter[str]:
    """Squeezed type -> how many others have code of it, as their files say: a config that says what
    BERT's and its many descendants' do is BERT's."""
    import transformers

    often: Counter[str] = Counter()
    for folder in (Path(transformers.__file__).parent / "models").iterdir():
        texts = [path.read_text(encoding="utf-8") for path in folder.glob("mod*_*.py")]
        often.update({_squeezed(of) for text in texts for of in ORIGIN.findall(text)})
    return often


def _related(data: Data, model_type: str) -> bool:
    """Whether a type's name begins with the config's: minimax_m3_vl of minimax_m3."""
    given = _squeezed(str(data.get("model_type") or ""))
    return bool(given) and _squeezed(model_type).startswith(given)


@functools.cache
def _declared() -> Mapping[str, frozenset[str]]:
    """The keys that the config class of each type with a model class declares, aliases included."""
    from transformers import CONFIG_MAPPING

    common, made = _common(), dict[str, frozenset[str]]()
    for model_type in heads.types():
        if model_type in CONFIG_MAPPING:
            made[model_type] = frozenset(_own(CONFIG_MAPPING[model_type]) - common)
    return made


@functools.cache
def _common() -> frozenset[str]:
    from transformers import GenerationConfig, PreTrainedConfig

    every = {*PreTrainedConfig().to_dict(), *GenerationConfig().to_dict()}
    return frozenset(every | {"model_type", "torch_dtype", "use_cache", "vocab_size"})


def _own(config_class: type[PreTrainedConfig]) -> set[str]:
    declared = {*getattr(config_class, "__dataclass_fields__", ()), *config_class.attribute_map}
    return {name for name in declared if not name.startswith("_")}


def _flat(data: Data) -> tuple[dict[str, Json], dict[str, str]] | None:
    """Where a config of a whole model says at its top what its text part does, and its class does
    not look for that there: the config as that of the text, or with a text part."""
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[str(data["model_type"])]
    name = next((name for name in NAMES["text part"] if name in kind.sub_configs), None)
    if name is None or name in data:
        return None
    try:
        default, read = kind(), kind.from_dict(dict(data))
    except Exception:  # noqa: BLE001 - whatever it refuses is told when it is loaded
        return None
    usual, part = getattr(default, name, None), getattr(read, name, None)
    if not hasattr(usual, "sub_configs") or not hasattr(part, "sub_configs"):
        return None
    inner: type[PreTrainedConfig] = type(usual)
    own = _own(inner) - _own(kind) - _common() | {"vocab_size"}
    given = {key: data[key] for key in sorted(own & data.keys()) if whole(data[key])}
    # What is as the default tells nothing of where the class looks; a class may drop a key.
    told = [key for key, value in given.items() if _says(usual, key) != value]
    lost = [key for key in told if _says(part, key) != given[key]]
    if len(given) < FLAT or 2 * len(lost) <= len(told):
        return None
    unlike = f"{OF_TYPE}: the keys at the top are those of its {name}"
    if heads.named(inner.model_type):
        return {**data, "model_type": inner.model_type}, {"model_type": unlike}
    moved = {key: value for key, value in data.items() if key in _own(inner) - _own(kind)}
    rest = {key: value for key, value in data.items() if key not in moved}
    return {**rest, name: moved}, {name: unlike, **dict.fromkeys(moved, unlike)}


def _says(config: PreTrainedConfig, key: str) -> Json:
    """As it is written: one that differs by layer may not be asked of the object."""
    said: Json = config.to_dict().get(config.attribute_map.get(key, key))
    return said


def _takes(name: str, kind: type[PreTrainedConfig]) -> bool:
    """Whether transformers has the class, and it is made from a config of the kind or a part."""
    if name in heads.named(kind.model_type):
        return True
    model = heads.find(name, kind.model_type)
    if model is None or getattr(model, "is_dummy", False):
        return model is not None
    wanted = getattr(model, "config_class", None)
    return isinstance(wanted, type) and any(issubclass(one, wanted) for one in _kinds(kind))


def _kinds(kind: type[PreTrainedConfig]) -> Iterator[type[PreTrainedConfig]]:
    """A config class and those of its parts."""
    yield kind
    for inner in kind.sub_configs.values():
        if isinstance(inner, type) and hasattr(inner, "sub_configs"):
            yield from _kinds(inner)


def _offered(kind: type[PreTrainedConfig]) -> list[str]:
    """The classes of a type and of its parts, the type's own first."""
    kinds = dict.fromkeys(str(one.model_type) for one in _kinds(kind))
    return [name for model_type in kinds for name in heads.named(model_type)]
