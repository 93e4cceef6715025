"""A config becomes a model with random weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild import wire
from tinybuild.config import bounds, found, heads, overrides, precision, reads, relations
from tinybuild.config.meta import count, on_meta
from tinybuild.config.spread import SPREADS, tried
from tinybuild.config.tags import tag
from tinybuild.errors import BuildFault
from tinybuild.facts import Ids, ModelFacts
from tinybuild.feeding import inputs, processor
from tinybuild.feeding.processor import abroad
from tinybuild.files import pretty
from tinybuild.keys import parallel
from tinybuild.model import formats, saved
from tinybuild.model.draw import (
    DRAWS,
    Batch,
    Said,
    batch_of,
    calibrate,
    drawn,
    finite,
    said,
    widen,
)
from tinybuild.model.resized import Change, Resized, possible, resize
from tinybuild.reading import reading
from tinybuild.sections import Model
from tinybuild.workers import Job

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Settings:
    """model: the recipe's section, its amounts as numbers. max_parameters: more are refused.
    compat: whether transformers 4 is to read the config alike."""

    model: Model
    max_parameters: int
    compat: bool = False


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model with its weights, and what is known of it. reads: the keys of its config that its
    class read. batch: what it was tried on. kept: its tensors that stay float32. wide: its spread.
    number: which draw it is. said: what it says to prompts; None where that is not looked at."""

    model: PreTrainedModel
    changes: list[Change]
    parameters: int
    reads: reads.Reads
    batch: Batch
    kept: frozenset[str]
    wide: float
    number: int
    said: Said | None


def _first(
    tried: Iterable[Built], rank: Callable[[Said], Any], enough: Callable[[Said], bool]
) -> Built:
    """The first that is good enough, or else the best; the first of equals, and the very first
    where nothing is looked at."""
    best: tuple[Any, Built] | None = None
    for built in tried:
        if built.said is None:
            return built if best is None else best[1]
        if best is None or rank(built.said) > best[0]:
            best = (rank(built.said), built)
        if enough(built.said):
            break
    assert best is not None
    return best[1]


CONFIG = "the source's config.json"


@reading(CONFIG, "source")
def make(job: Job) -> ModelFacts:
    """The model stage: config.json, generation_config.json, model.safetensors, processor files,
    config_changes.json (what differs from the source's config, and why), and the formats that the
    recipe asks for.

    Inputs: fetch; of the tokenizer only the fact `ids`, so that another vocabulary of the same size
    leaves the model as it is. Raises Fault.
    """
    building = Building.of(job)
    with found.guessed(change.reason for change in building.mended):
        built = building.best()
    model, source, section = built.model, building.source, building.asked.model
    building.require_read(built)
    building.cast(built)  # some classes convert their routers as they run
    precision.tell(model.config, building.dtype, building.dtype)
    try:
        model.save_pretrained(job.out)
    except ValueError as error:
        raise BuildFault.of(
            f"transformers refuses to save the model: {overrides.reason(error)}",
            key=("model", "config"),
        ) from None
    if building.asked.compat:
        saved.for_version_4(job.out)
    record = {"version": 1, "changes": wire.dump([*building.mended, *built.changes])}
    (job.out / "config_changes.json").write_text(pretty(record), encoding="utf-8")
    modalities = inputs.modalities(model)
    senses = {"image", "video", "audio"} & {*modalities}
    more = (building.folder, source, building.tokenizer)
    files = saved.processor_files(model, *more) if senses else {}
    processor.write(files, building.folder, job.out)
    work = formats.Work(
        model=model,
        folder=job.out,
        section=section,
        seed=job.seed,
        tokenizer=job.inputs.get("tokenizer"),
    )
    return ModelFacts(
        class_=building.model_class.__name__,
        model_type=model.config.model_type,
        parameters=built.parameters,
        dtype=section["dtype"],
        tensor_parallel=parallel(model.config.to_dict()),
        length=saved.longest(model),
        draw=built.number,
        processor=tuple(processor.classes(files)),
        without=abroad.without(processor.read(building.folder), files),
        forms=formats.write(work),
        tag=tag(building.model_class.__name__, model.config.model_type, modalities),
        modalities=tuple(modalities),
        vocab_size=heads.text_rows(model.config),
    )


@reading(CONFIG, "source")
def review(job: Job) -> None:
    """Refuse what the model stage would refuse, as far as that shows without a tokenizer and
    without weights: no such class, overrides that the config does not have or that cannot be.

    Settings as for `make`; of the inputs, fetch needs to hold the source's config only.
    """
    building = Building.of(job)
    possible(building.source, building.asked.model)


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a model would be. bytes: of its weights."""

    class_: str
    parameters: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """A model before it is made. source: the parameters that it has at the source's sizes. changes:
    what its config has otherwise, and why."""

    size: Size
    source: int
    changes: tuple[Change, ...]


@reading(CONFIG, "source")
def sized(job: Job) -> Size:
    """How large the model stage's model would be: its config is made, its weights are not.

    Settings and facts as for `make`; of the inputs, fetch needs to hold the source's config only.
    Raises Fault.
    """
    return _sized(Building.of(job))[0]


@reading(CONFIG, "source")
def sketched(job: Job) -> Sketch:
    """The same, beside the source's own size, which is counted without memory, too."""
    building = Building.of(job)
    size, changes = _sized(building)
    whole = on_meta(building.model_class, building.source).parameters()
    source = sum(tensor.numel() for tensor in whole)
    return Sketch(size=size, source=source, changes=(*building.mended, *changes))


def _sized(building: Building) -> tuple[Size, list[Change]]:
    source, section, made = building.source, building.asked.model, building.model_class
    resized = resize(source, section, building.tokenizer, made, building.seed)
    config, changes = resized.spread()
    most = building.asked.max_parameters
    parameters = count(made, config, most, source, section["config"])
    size = parameters * building.dtype.itemsize
    return Size(class_=made.__name__, parameters=parameters, bytes=size), changes


@dataclass(frozen=True, kw_only=True)
class Building:
    """What a model is built from: the settings (the dtype is the checkpoint's where the recipe says
    none), the class and the source's config for it, what was put right in that, the tokenizer's
    ids, the source's folder, and a seed."""

    asked: Settings
    mended: Sequence[Change]
    model_class: type[PreTrainedModel]
    source: PreTrainedConfig
    tokenizer: Ids | None
    folder: Path
    seed: int

    @classmethod
    def of(cls, job: Job) -> Building:
        asked, folder = job.asked(Settings), job.inputs["fetch"] / "source"
        told = job.facts.get("tokenizer")
        bounds.hold(asked.model["config"], "the recipe", ("model", "config"))
        read = found.read(folder)
        changes = heads.labelled(asked.model["architecture"], asked.model["config"])
        model_class, source = heads.choose(asked.model["architecture"], read.config)
        ids = wire.load(Ids, told["ids"]) if told is not None else None
        return cls(
            asked=replace(asked, model={"dtype": read.dtype, **asked.model, "config": changes}),
            mended=[
                Change(key=".".join(one.path), from_=one.old, to=one.new, reason=one.reason)
                for one in read.mended
            ],
            model_class=model_class,
            source=source,
            tokenizer=ids,
            folder=folder,
            seed=job.seed,
        )

    def best(self) -> Built:
        """The model to save: with the best of the spreads where the recipe leaves that open, and of
        that the first draw whose continuations differ enough, or else the one whose differ most.

        Where weights are drawn as narrow as a full-size model's, one seed in thirty makes a model
        that continues all prompts alike; some make a codec with one code for all sounds. The draws
        are those of the seed, seed + 1 ...
        """
        section = self.asked.model
        resized = resize(self.source, section, self.tokenizer, self.model_class, self.seed)
        auto = section["shrink"] == "auto" and "initializer_range" not in section
        looked = auto and self.model_class.can_generate()
        spreads = tried(self.source.to_dict()) if looked else SPREADS[:1]
        made = _first((self.built(resized, wide) for wide in spreads), Said.rank, Said.best)
        again = (self.built(resized, made.wide, number) for number in range(1, DRAWS))
        return _first(itertools.chain([made], again), lambda said: said.share, Said.enough)

    def built(self, resized: Resized, wide: float, number: int = 0) -> Built:
        """The model with weights drawn as `wide` as config.spread says; which draw of them."""
        import torch

        wishes, most = self.asked.model["config"], self.asked.max_parameters
        config, changes = resized.spread(wide)
        with relations.explained(self.source, config, wishes, ("model", "config")):
            parameters = count(self.model_class, config, most, self.source, wishes)
        usual = resized.usual
        with reads.recording() as seen:
            model = drawn(self.model_class, config, self.seed + number, usual)
        if resized.unsaid and model.can_generate():
            widen(model, self.seed + number, wide)
        kept = precision.keeps(self.model_class, config, self.dtype)
        batch = batch_of(model, self.seed, resized.batch)
        precision.cast(model, self.dtype, kept)
        model.eval()
        whole = not model.can_generate() or finite(model, batch, self.seed)
        # The saved numbers, in float32: how a CPU rounds shorter ones would decide what is tried.
        precision.cast(model, torch.float32, frozenset())
        if model.can_generate():
            saved.generation(model, self.folder, self.tokenizer, wishes)
        calibrate(model, batch, self.seed)
        told = said(model, batch, self.seed)
        return Built(
            model=model,
            changes=changes,
            parameters=parameters,
            reads=seen,
            batch=batch,
            kept=kept,
            wide=wide,
            number=number,
            said=told and replace(told, finite=whole),
        )

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return getattr(torch, self.asked.model["dtype"])

    def cast(self, built: Built) -> None:
        precision.cast(built.model, self.dtype, built.kept)

    def require_read(self, built: Built) -> None:
        """Refuse overrides that no code of the model reads, neither made nor run."""
        import torch

        model, wishes, seen = built.model, self.asked.model["config"], dict(built.reads)
        if not reads.unread(model.config, self.source, wishes, seen):
            return
        batch = built.batch()
        if batch is None:
            return
        try:
            with reads.recording() as running, torch.no_grad():
                model(**batch)
        except Exception:  # noqa: BLE001 - the check `forward` finds a model that does not run
            return
        for config_class, names in running.items():
            seen[config_class] = seen.get(config_class, set()) | names
        findings = reads.findings(model, self.source, wishes, seen)
        if findings:
            raise BuildFault(findings)
