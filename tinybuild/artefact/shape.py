"""The shape of a tiny model as overrides on its source, proved by the tensors they make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.config import found, heads, meta, overrides, relations
from tinybuild.config.sizes import SIZES
from tinybuild.config.spread import SPREADS
from tinybuild.errors import BuildFault, Fault
from tinybuild.keys import LABELS, configs, first, is_id, measures, numbers, says, vocabulary
from tinybuild.model import Building
from tinybuild.model.resized import resize
from tinybuild.paths import Data, Json, leaves, merge, put, whole, without
from tinybuild.paths import Path as Place
from tinybuild.workers import Job

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KEY = ("model", "config")
# What a config says of the file it is, of its code, and of how its weights are stored.
OF_THE_FILE = ("architectures", "auto_map", "dtype", "torch_dtype", "quantization_config")
TOKENIZERS = (
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "source.spm", "tekken.json"),
)
AXES = ("width", "head dim", "ffn width", "expert width", "rank")
LARGE = 3 * SIZES["tiny"].width  # the check no_dimension_left asks for wider ones to be said
MOST = 200_000_000  # parameters of something tiny; weights are drawn once to see what is read


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model section, and what was seen on the way. overrides: the difference. vocabulary: rows of
    the embedding of texts, if there is one; of_source: those of the source. tokenizer: whether the
    source has one. dtype: "" where it is the source's. tensors: how many the model has. other:
    those that the overrides make of another shape. unknown: what the folder does not tell or a
    recipe cannot say, a sentence each.
    """

    class_: str
    overrides: Mapping[str, object]
    vocabulary: int | None
    of_source: int | None
    tokenizer: bool
    dtype: str
    parameters: int
    tensors: int
    other: tuple[str, ...]
    unknown: tuple[str, ...]


def read(job: Job) -> Imported:
    """Inputs: tiny and full, folders that hold source/ each. Raises Fault."""
    folder = job.inputs["full"] / "source"
    tiny, full = found.read(job.inputs["tiny"] / "source"), found.read(folder)
    named = next(iter(tiny.config.architectures or []), "auto")
    model_class, target = heads.choose(named, tiny.config)
    _, source = heads.choose(model_class.__name__, full.config)
    if type(source) is not type(target):
        what = f"the tiny model is a {target.model_type}, its source a {source.model_type}"
        raise BuildFault.of(what, hint="give the full-size model that it was made from (--source)")
    tokenizer = any((folder / name).is_file() for name in TOKENIZERS)
    work = _Work(model_class=model_class, source=source, target=target, folder=job.inputs["full"])
    wishes, unknown = work.wishes(tokenizer=tokenizer)
    shapes, made = work.shapes(target), work.shapes(work.made(wishes))
    other = [name for name in sorted({*shapes, *made}) if shapes.get(name) != made.get(name)]
    rows, of_source = (_rows(config) for config in (target, source))
    return Imported(
        class_=model_class.__name__,
        overrides=wishes,
        vocabulary=rows,
        of_source=of_source,
        tokenizer=tokenizer,
        dtype="" if tiny.dtype == full.dtype else tiny.dtype,
        parameters=meta.count(model_class, target, MOST, source, {}),
        tensors=len(shapes),
        other=tuple(other),
        unknown=(*unknown, *_untold(job.inputs["tiny"] / "source", rows)),
    )


def _rows(config: PreTrainedConfig) -> int | None:
    rows = vocabulary(overrides.plain(config))
    return rows if isinstance(rows, int) else None


def _untold(folder: Path, rows: int | None) -> Iterator[str]:
    """What no folder tells, or only half."""
    raw = json.loads((folder / "config.json").read_bytes())
    if "auto_map" in raw:
        yield "its class is code of the repository (auto_map), which is never run"
    if rows is None:
        return
    counted = _tokens(folder)
    if counted is not None and counted != rows:
        yield f"its tokenizer has {counted:,} tokens, its embedding {rows:,} rows"
    yield "which tokens of the source it keeps: a recipe chooses as many by its own rule"


def _tokens(folder: Path) -> int | None:
    """Tokens of a tokenizer.json; None where there is none."""
    try:
        data = json.loads((folder / "tokenizer.json").read_bytes())
        held = data["model"]["vocab"]
        known = {*held} if isinstance(held, dict) else {token for token, _ in held}
        return len(known | {token["content"] for token in data.get("added_tokens", [])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Two configs of one class, and what tells them apart."""

    model_class: type[PreTrainedModel]
    source: PreTrainedConfig
    target: PreTrainedConfig
    folder: Path

    def wishes(self, *, tokenizer: bool) -> tuple[dict[str, Json], list[str]]:
        """The fewest overrides that make the target of the source, and what they cannot make. What
        follows the tokenizer is left to it, where the source has one."""
        unknown = list[str]()
        whole = difference(self.source, self.target)
        whole = self._taken(whole, unknown)
        # What the class derives anew from them, and the target does not have so.
        again = difference(overrides.override(self.source, whole, {}, KEY), self.target)
        whole = self._taken(merge(whole, _untried(again, unknown)), unknown)
        follow = _following(whole)
        wishes = self._within(self._fewest(_less(whole, follow), follow), follow, unknown)
        wishes = self._read(merge(self._large(), wishes), follow, unknown)
        left = difference(self.made(merge(follow, wishes)), self.target)
        for path, value in leaves(_untried(left, unknown)):
            unknown.append(f"{'.'.join(path)}: {_short(value)} cannot be said")
        if tokenizer and follow:
            return wishes, unknown
        return merge(merge(wishes, follow), self._beyond(unknown)), unknown

    def _large(self) -> dict[str, Json]:
        """What makes axes as large as the source's: a recipe has to say that it wants them so."""
        said: dict[str, Json] = {}
        for path, node in configs(overrides.plain(self.target)):
            for name, value in numbers(node, *AXES):
                if value > LARGE:
                    put(said, (*path, name), value)
        return said

    def _beyond(self, unknown: list[str]) -> dict[str, Json]:
        """Ids that are no rows of the embedding, which no bundle may hold, as none."""
        none: dict[str, Json] = {}
        for path, node in configs(overrides.plain(self.target)):
            rows = node.get("vocab_size")
            for name, value in node.items() if whole(rows) else ():
                if is_id(name) and whole(value) and whole(rows) and value >= rows:
                    put(none, (*path, name), None)
                    shown = ".".join((*path, name))
                    unknown.append(f"{shown}: {value} is not below its {rows:,} tokens")
        return none

    def made(self, wishes: Data) -> PreTrainedConfig:
        """The source with overrides, and with what follows the tokenizer as the target has it."""
        follow = _following(difference(self.source, self.target))
        return overrides.override(self.source, wishes, follow, KEY)

    def shapes(self, config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
        named = meta.tensors(self.model_class, config)
        return {name: tuple(tensor.shape) for name, tensor in named.items()}

    def _taken(self, wishes: dict[str, Json], unknown: list[str]) -> dict[str, Json]:
        """Without what the class refuses."""
        for _ in range(sum(1 for _ in leaves(wishes))):
            try:
                overrides.override(self.source, wishes, {}, KEY)
                break
            except BuildFault as fault:
                wishes = _dropped(wishes, fault, unknown)
        return wishes

    def _fewest(self, wishes: dict[str, Json], follow: Data) -> dict[str, Json]:
        """Without what the class derives from the others."""
        for path, _ in reversed([*leaves(wishes)]):
            fewer = without(wishes, path)
            try:
                made = overrides.override(self.source, fewer, follow, KEY)
                wanted = overrides.override(self.source, wishes, follow, KEY)
            except BuildFault:
                continue
            if not difference(made, wanted):
                wishes = _full(fewer)
        return wishes

    def _within(self, wishes: dict[str, Json], follow: Data, unknown: list[str]) -> dict[str, Json]:
        """With what counts layers made no more than there are, where a recipe would be refused for
        it: a tiny model may keep first_k_dense_replace: 3 with two layers."""
        wanted, data = self.shapes(self.target), overrides.plain(self.target)
        depth = data.get(first(data, "depth") or "")

        def fits(tried: Data) -> bool:
            try:
                made = relations.override(self.source, merge(follow, tried), {}, KEY)
            except BuildFault:
                return False
            return self.shapes(made) == wanted

        if not isinstance(depth, int) or fits(wishes):
            return wishes
        for name, value in data.items():
            if type(value) is int and value > depth and name not in wishes:
                tried: dict[str, Json] = {**wishes, name: depth}
                if fits(tried):
                    unknown.append(f"{name}: {value} is more than the {depth} layers")
                    return tried
        return wishes

    def _read(self, wishes: dict[str, Json], follow: Data, unknown: list[str]) -> dict[str, Json]:
        """Without what no code of the model reads: a recipe may not say it."""
        section = {
            "architecture": self.model_class.__name__,
            "shrink": "none",
            "size": "tiny",
            "config": merge(follow, wishes),
            "dtype": "float32",
        }
        settings = {"model": section, "max_parameters": MOST}
        job = Job(
            task="import:x",
            settings=settings,
            inputs={"fetch": self.folder},
            facts={},
            root=self.folder,
            out=self.folder,
            seed=0,
        )
        try:
            building = Building.of(job)
            resized = resize(
                building.source, building.asked.model, None, self.model_class, job.seed
            )
            building.require_read(building.built(resized, SPREADS[0]))
        except BuildFault as fault:
            return _dropped(wishes, fault, unknown)
        return wishes


def difference(source: PreTrainedConfig, target: PreTrainedConfig) -> dict[str, Json]:
    """What the target says and the source does not, as nested overrides: not what a config says of
    the file it is."""
    before, wishes = overrides.plain(source), dict[str, Json]()
    for name, value in overrides.plain(target).items():
        sub, old = overrides.sub_config(target, name), overrides.sub_config(source, name)
        if name in OF_THE_FILE or name.startswith("_"):
            continue
        if sub is not None:
            another = type(old) is not type(sub)
            inner = difference(type(sub)() if another or old is None else old, sub)
            said: dict[str, Json] = {"model_type": sub.model_type} if another else {}
            if inner or said:
                wishes[name] = {**said, **inner}
        elif name == LABELS[0] and isinstance(value, Mapping):
            labels = before.get(name)
            if not isinstance(labels, Mapping) or len(value) != len(labels):
                wishes["num_labels"] = len(value)
        elif name != LABELS[1] and (more := _json(value)) != (held := _json(before.get(name))):
            if isinstance(more, Mapping) and isinstance(held, Mapping):  # they are merged
                more = {key: item for key, item in more.items() if held.get(key) != item}
            if more != {}:
                wishes[name] = more
    return wishes


def _follows(path: Place) -> bool:
    """Whether a key follows the tokenizer: its ids, and the rows of an embedding of texts."""
    name = path[-1]  # a type_vocab_size is not of the text
    return is_id(name) or (says(name, "rows of text") and measures(name) == "vocabulary")


def _following(wishes: Data) -> dict[str, Json]:
    """Of the overrides those that follow the tokenizer."""
    kept: dict[str, Json] = {}
    for path, value in leaves(wishes):
        if _follows(path):
            put(kept, path, value)
    return kept


def _less(wishes: Data, others: Data) -> dict[str, Json]:
    """Without the overrides that others are."""
    for path, _ in leaves(others):
        wishes = without(wishes, path)
    return _full(wishes)


def _untried(wishes: Data, unknown: Iterable[str]) -> dict[str, Json]:
    """Without those of which a sentence was said."""
    told = {line.partition(":")[0] for line in unknown}
    for path, _ in [*leaves(wishes)]:
        wishes = without(wishes, path) if ".".join(path) in told else wishes
    return _full(wishes)


def _full(wishes: Data) -> dict[str, Json]:
    """Without parts that nothing is left of."""
    inner = {n: _full(v) if isinstance(v, Mapping) and v else v for n, v in wishes.items()}
    return {name: value for name, value in inner.items() if value != {}}


def _dropped(wishes: dict[str, Json], fault: Fault, unknown: list[str]) -> dict[str, Json]:
    """Without the overrides that a fault speaks of. Raises it where it speaks of none."""
    paths = [tuple(map(str, finding.key[len(KEY) :])) for finding in fault.findings]
    if not any(paths):
        raise fault
    for path, finding in zip(paths, fault.findings, strict=True):
        if path:
            unknown.append(f"{'.'.join(path)}: {finding.what}")
            wishes = _full(without(wishes, path))
    return wishes


def _json(value: object) -> Json:
    """As JSON data: lists for tuples, text for numbers as names."""
    made: Json = json.loads(json.dumps(value, default=str))
    return made


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
