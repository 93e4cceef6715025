"""A config.json as it is found is put right before it is loaded, with a reason for each change.

Real ones say that weights are packed (fp8), lead to code and files elsewhere, write numbers as
text or None where their class wants a number, and are of types that transformers does not know.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tinybuild import named, network
from tinybuild.config import backbones, bounds, heads, timm
from tinybuild.config.matched import BUILT_ALIKE, OF_TYPE, matched
from tinybuild.config.matched import named as class_named
from tinybuild.config.overrides import reason, refusals
from tinybuild.config.precision import DTYPES, WRITTEN, Dtype, own_dtype
from tinybuild.errors import BuildFault, Fault
from tinybuild.files import json_object
from tinybuild.keys import START, elsewhere, is_config, is_id, measures, says
from tinybuild.paths import Data, Json, having, items, mapping, mappings, without
from tinybuild.paths import Path as Place
from tinybuild.reading import reading

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ROPE = ("rope_scaling", "rope_parameters")
# What a config.json says of its own checkpoint, and not of the model.
WHOLE = ("architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path")
TRIES = 40  # values of a config that its class does not take
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
WORDS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Mended:
    """A key of a source's config.json that was put right: what it says there, what it is taken for
    (None: it is dropped), and why."""

    path: Place
    old: Json
    new: Json
    reason: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """A source's config as it is built from. dtype: the type of its checkpoint's weights."""

    config: PreTrainedConfig
    mended: tuple[Mended, ...]
    dtype: Dtype


@contextlib.contextmanager
def guessed(reasons: Iterable[str]) -> Iterator[None]:
    """Of a model that cannot be built it is said that its type was matched, where it was."""
    try:
        yield
    except BuildFault as fault:
        why = next((reason for reason in reasons if reason.startswith(OF_TYPE)), None)
        if why is None:
            raise
        told = why.removeprefix(f"{OF_TYPE}: ")
        raise type(fault)(
            replace(one, what=f"{one.what}; {told}", hint=f"{one.hint}; or {BUILT_ALIKE}")
            for one in fault.findings
        ) from None


def load(folder: Path) -> PreTrainedConfig:
    """The config object of a folder's config.json; raises BuildFault."""
    return read(folder).config


@reading("the source's config.json", "source")
def read(folder: Path) -> Found:
    """A folder's config.json, put right and loaded. Raises BuildFault."""
    data = as_written(folder)
    bounds.hold(data, "the source's config.json", ("source",))
    dtype, mended = own_dtype(data), list[Mended]()
    for one in list(_fetched(data, folder)):
        data = _put(data, one)
        mended.append(one)
    for rule in (_dropped, _legacy, _typed, _timm):
        for one in list(rule(data)):
            data = _put(data, one)
            mended.append(one)
    known, reasons = matched(data)
    whole = reasons.pop("", None)
    if whole is None:
        olds = {name: data.get(name) for name in reasons}
    else:
        olds = {"model_type": data.get("model_type")}
        mended += [
            Mended(path=(name,), old=value, new=None, reason=whole)
            for name, value in data.items()
            if isinstance(value, Mapping) and name not in known
        ]
    mended += [
        Mended(path=(name,), old=olds.get(name), new=known.get(name), reason=reason)
        for name, reason in reasons.items()
    ]
    known = backbones.described(known)
    _near(known)
    config, softened = _loaded(known)
    mended += softened
    _started(config, folder / "generation_config.json")
    before, why = config.architectures, class_named(config)
    if why:
        mended.append(
            Mended(path=("architectures",), old=before, new=config.architectures, reason=why)
        )
    return Found(config=config, mended=tuple(mended), dtype=dtype)


@reading("the source's config.json", "source")
def as_written(folder: Path) -> dict[str, Json]:
    """A folder's config.json as it stands there. Raises BuildFault."""
    path = folder / "config.json"
    if not path.is_file():
        raise BuildFault.of(
            "the source has no config.json",
            key=("source",),
            hint="give a source with a config, or leave out the model section",
        )
    data = json_object(path, "the source's config.json")
    names, type_ = data.get("architectures"), data.get("model_type")
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    for key, fits, wanted in (
        ("model_type", isinstance(type_, str | None), "text"),
        ("architectures", names is None or listed, "a list of names"),
    ):
        if not fits:
            what = f"{key} of the source's config.json is {data[key]!r}, not {wanted}"
            raise BuildFault.of(what, key=("source",))
    return data


def _fetched(data: Data, folder: Path) -> Iterator[Mended]:
    """The parts that a config only names, as fetch has them beside it. Raises BuildFault."""
    for key, repo in named.parts(data).items():
        *above, name = key.split(".")
        if not named.place(folder, key).is_file():
            continue  # `_near` says so
        told = _part(named.place(folder, key), repo)
        more = mapping(data, (*above, f"{name}_kwargs"))
        reason = f"rule backbone: the config.json of {repo}"
        at = (*above, name)
        if "model_type" not in told:  # timm's, which `backbones.described` knows by its name
            yield Mended(path=at, old=repo, new=told["architecture"], reason=reason)
            continue
        made = {n: v for n, v in told.items() if n not in WHOLE}
        yield Mended(path=at, old=repo, new=None, reason=reason)
        if more:
            yield Mended(path=(*above, f"{name}_kwargs"), old=more, new=None, reason=reason)
        at = (*above, f"{name}_config")
        yield Mended(path=at, old=None, new={**made, **more}, reason=reason)


def _part(file: Path, repo: str) -> Data:
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES as KNOWN

    data = json_object(file, f"config.json of {repo}")
    kind = data.get("model_type")
    of_timm = "model_type" not in data and isinstance(data.get("architecture"), str)
    if kind not in KNOWN and not of_timm:
        what = f"{repo}, which the source's config.json names as a backbone, is of the type {kind}"
        hint = "types that can be one: " + ", ".join(sorted(KNOWN))
        raise BuildFault.of(f"{what}, which cannot be one", key=("source",), hint=hint)
    return data


def _put(data: dict[str, Json], one: Mended) -> dict[str, Json]:
    if one.new is None:
        return without(data, one.path)
    return cast("dict[str, Json]", having(data, one.path, one.new))


def _dropped(data: Data) -> Iterator[Mended]:
    """What no bundle may say: that its weights are packed, and where else something of it is.

    A backbone that is only named is another matter (`_near`): what it is decides the model.
    """
    for path, node in mappings(data, is_config):
        for name, value in node.items():
            at = (*path, name)
            if says(name, "packing") and value is not None:
                how = mapping(node, (name,)).get("quant_method") or "fewer bits"
                reason = f"rule precision: the weights are plain, not packed as {how}"
                yield Mended(path=at, old=value, new=None, reason=reason)
            elif says(name, "packing"):
                yield Mended(path=at, old=value, new=None, reason="rule precision: says nothing")
            elif says(name, "helped generation") and value:
                reason = "rule generation: one token after another, by the layers that are built"
                yield Mended(path=at, old=value, new=None, reason=reason)
            elif value and elsewhere(name, value) and not name.startswith("backbone"):
                reason = "rule elsewhere: code, a file or a repository that is not in the bundle"
                yield Mended(path=at, old=value, new=None, reason=reason)


def _legacy(data: Data) -> Iterator[Mended]:
    """Lists of labels, numbers written as text, names of types that torch does not have, and of
    Qwen 2 VL's rotation, which is the usual one in sections."""
    for path, node in mappings(data, is_config):
        for name, value in node.items():
            new: Json = value
            if name == "id2label" and isinstance(value, list):
                new = {str(number): label for number, label in enumerate(value)}
            elif name == "label2id" and isinstance(value, list):
                new = {str(label): number for number, label in enumerate(value)}
            elif name in ROPE and isinstance(value, Mapping):
                kinds = {key: value[key] for key in ("rope_type", "type") if key in value}
                plain = {key: "default" for key, kind in kinds.items() if kind == "mrope"}
                new = None if kinds and not any(kinds.values()) else {**value, **plain}
            elif isinstance(value, str) and (measures(name) or is_id(name)):
                new = _number(value)
            elif name in DTYPES and isinstance(value, str):
                said = value.removeprefix("torch.")
                new = said if said in WRITTEN else None
            if new != value:
                reason = "rule legacy: as it is written today"
                yield Mended(path=(*path, name), old=value, new=new, reason=reason)


def _typed(data: Data) -> Iterator[Mended]:
    if timm.typed(data):
        reason = "rule timm: transformers wraps what timm describes"
        yield Mended(path=("model_type",), old=None, new=timm.WRAPPER, reason=reason)


def _timm(data: Data) -> Iterator[Mended]:
    for path, new, why in timm.written(data):
        node = mapping(data, path[:-1])
        yield Mended(path=path, old=node.get(path[-1]), new=new, reason=why)


def _number(text: str) -> Json:
    if not NUMBER.fullmatch(text):
        return text
    number = float(text)
    return int(number) if number.is_integer() else number


def _near(data: Data) -> None:
    """Raises BuildFault for a part that is only named by its repository: transformers would ask the
    Hub for it, and it would be in no lock."""
    for place, name in timm.places(data):
        what = f"{'.'.join(place)} of the source's config.json is a place elsewhere, {name}"
        hint = "copy the source to a folder and name it (source: {path: FOLDER}); in its "
        hint += "config.json, name an architecture of timm's own (timm.list_models() lists them)"
        raise BuildFault.of(what, key=("source",), hint=hint)
    for path, value in items(data):
        node = mapping(data, path[:-1])
        if not (path[-1].startswith("backbone") and elsewhere(path[-1], value)):
            continue
        if not mapping(node, (f"{path[-1]}_config",)) and node.get("model_type") != named.TIMM:
            raise named_only(path, str(value))


def named_only(path: Place, repository: str) -> Fault:
    """A key of the source's config that names a repository, where its config would be needed."""
    key, instead = ".".join(path), f"{path[-1]}_config"
    return BuildFault.of(
        f"{key} of the source's config.json is a repository of the Hub, {repository}, and only "
        "fetch reaches the Hub",
        key=("source",),
        hint=f"copy the source to a folder and name it (source: {{path: FOLDER}}); in its "
        f"config.json, delete {key} and say what {repository} has in its config.json as "
        f"{instead}: {{model_type: ...}}",
    )


def _loaded(data: dict[str, Json]) -> tuple[PreTrainedConfig, list[Mended]]:
    """The config object, and what was changed so that its class takes it."""
    mended = list[Mended]()
    for _ in range(TRIES):
        made = _made(data)
        if not isinstance(made, Exception):
            return made, mended
        one = _softer(data, made)
        if one is None:
            break
        mended.append(one)
        data = _put(data, one)
    assert isinstance(made, Exception)
    if isinstance(made, ImportError):
        raise heads.absent(f"a config of the type {data.get('model_type')}", made)
    why = re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+/?", "", reason(made))
    raise BuildFault.of(f"transformers refuses the source's config.json: {why}", key=("source",))


def _made(data: Data) -> PreTrainedConfig | Exception:
    """What transformers makes of a config, or why it does not. Raises Fault where it asks for what
    is elsewhere."""
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(data), encoding="utf-8")
        try:
            made = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except refusals() as error:
            return error
        except OSError as error:
            wanted = network.offline(error)
            if wanted is None:
                raise
            raise network.fault(wanted) from None
    made.name_or_path = ""  # the folder's, which is gone
    return made


def _started(config: PreTrainedConfig, generation: Path) -> None:
    """Give a config the decoder's start, in place, where only the generation config says it: the
    class shifts labels by it."""
    if config.is_encoder_decoder and getattr(config, START, None) is None and generation.is_file():
        with contextlib.suppress(ValueError):  # whose message belongs to generation
            start = mapping(json.loads(generation.read_text())).get(START)
            if start is not None:
                setattr(config, START, start)


def _softer(data: dict[str, Json], error: Exception) -> Mended | None:
    """The value that a class refuses as it would take it: without None, a number for its text, a
    whole number as a fraction. None where nothing helps."""
    field = re.match(r"Validation error for field '(\w+)'", str(error))
    for path, node in mappings(data, is_config) if field else ():
        assert field is not None
        if field[1] not in node:
            continue
        at = (*path, field[1])
        for new in _ways(node[field[1]]):
            why = "its class takes no None" if new is None else "as its class takes it"
            one = Mended(path=at, old=node[field[1]], new=new, reason=f"rule legacy: {why}")
            after = _made(_put(copy.deepcopy(data), one))
            if not isinstance(after, Exception) or _another(after, error, new):
                return one
    return None


def _another(after: Exception, before: Exception, new: Json) -> bool:
    """Whether a class goes on to refuse something else than the new value."""
    refused = re.search(rf"value:? {re.escape(repr(new))}(?![\w.])", str(after))
    return str(after) != str(before) and refused is None


def _ways(value: Json) -> Iterator[Json]:
    if value is None:
        yield None
    elif isinstance(value, bool):
        yield int(value)
    elif isinstance(value, str):
        known = WORDS.get(value.lower())
        if known is not None:
            yield known
        elif (number := _number(value)) != value:
            yield number
            yield from _ways(number)
    elif isinstance(value, int):
        yield float(value)
        if value in (0, 1):
            yield bool(value)
        yield [value]
    elif isinstance(value, float) and value.is_integer():
        yield int(value)
    elif isinstance(value, list) and len({repr(item) for item in value}) == 1:
        yield value[0]
