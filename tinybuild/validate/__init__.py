"""Does what was built work? The validate stage and its table of checks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle
from tinybuild.errors import CheckFault, Finding
from tinybuild.expected.format import FILES
from tinybuild.facts import ValidateFacts
from tinybuild.files import copy, pretty
from tinybuild.reading import reading
from tinybuild.validate import (
    alive,
    coherent,
    dataset,
    dimensions,
    distinct,
    features,
    formats,
    layers,
    loaded,
    pairs,
    places,
    ported,
    processor,
    shrunk,
    tokenizer,
    versions,
)
from tinybuild.validate.check import STATES, Check, Result
from tinybuild.validate.subject import Bounds, Subject, Wish
from tinybuild.workers import Job

# In the order in which they run and are reported. Each says what it needs of a bundle.
CHECKS: tuple[Check, ...] = (
    tokenizer.tokenizer_loads,
    tokenizer.ids_without_holes,
    tokenizer.special_tokens,
    tokenizer.one_cutting,
    tokenizer.round_trip,
    shrunk.vocabulary_mapped,
    shrunk.same_pipeline,
    shrunk.segmentation,
    shrunk.special_strings,
    shrunk.chat_template,
    shrunk.batches,
    shrunk.formats_agree,
    loaded.reload,
    loaded.dtype,
    loaded.weights_tied,
    loaded.initialised,
    loaded.max_parameters,
    coherent.overrides_read,
    coherent.ids_in_vocabulary,
    coherent.coherent_ids,
    layers.every_layer_kind,
    layers.layer_indexes,
    distinct.distinctions_kept,
    dimensions.no_dimension_left,
    alive.forward,
    alive.backward,
    alive.learns_from_labels,
    alive.gradients,
    alive.inputs_matter,
    alive.every_modality,
    features.features_matter,
    alive.generate,
    alive.generation_differs,
    alive.trains,
    loaded.fresh_process,
    loaded.from_bundle,
    ported.expected_outputs,
    formats.shards,
    formats.pickled,
    formats.adapters,
    formats.sentence_transformer,
    formats.gguf,
    places.self_contained,
    processor.processor_tokens,
    processor.processor_feeds_model,
    dataset.dataset_loads,
    pairs.rows_train,
    versions.least_version,
    loaded.max_bytes,
)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Where the files of a shrunken tokenizer's source are in fetch's folder, and its class."""

    slot: str
    class_: str | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The recipe's slice of the validate stage."""

    checks: Bounds
    source: Slot | None = None
    model: Wish | None = None
    compat: bool = False


@reading("what was made of the source", "source")
def make(job: Job) -> ValidateFacts:
    """The validate stage: report.json, and what a port of the model is held to. All checks run and
    are reported, also where one of them fails, which fails the task (CheckFault).

    Inputs: tokenizer, model, dataset, as far as the recipe makes them, and fetch: the config of the
    model's source, and the files of a shrunken tokenizer's.
    """
    settings = job.asked(Settings)
    with tempfile.TemporaryDirectory(dir=job.out, prefix=".packed-") as temporary:
        packed = Path(temporary) / "bundle"
        packed.mkdir()
        bundle.lay(job.inputs, packed, job.facts.get("model", {}).get("length"))
        subject = Subject(
            folder=packed,
            scratch=Path(temporary),
            facts=job.facts,
            seed=job.seed,
            bounds=settings.checks,
            wish=settings.model or Wish(),
            original=job.inputs["fetch"] / settings.source.slot if settings.source else None,
            tokenizer_class=settings.source.class_ if settings.source else None,
            origin=job.inputs["fetch"] / "source" if settings.model else None,
            compat=settings.compat,
        )
        results = {check.name: check.run(subject) for check in CHECKS}
        size = subject.bytes
        done = {name: result for name, result in results.items() if result is not None}
        whole = all(result.state != "failed" for result in done.values())
        for name in FILES if ported.expected_outputs.name in done and whole else ():
            copy(subject.read_in / name, job.out / name)
    (job.out / "report.json").write_text(pretty(report(done)), encoding="utf-8")
    named = {state: [n for n, result in done.items() if result.state == state] for state in STATES}
    if named["failed"]:
        faults = _findings({name: done[name] for name in named["failed"]})
        passed = ", ".join(named["passed"]) or "none"
        raise CheckFault([*faults, Finding(what=f"passed: {passed}")])
    return ValidateFacts(
        checks=len(named["passed"]),
        untried=len(named["not tried"]),
        bytes=size,
        from_bundle=done[name].state if (name := loaded.from_bundle.name) in done else "",
        given_up={what: why for one in done.values() for what, why in one.given_up.items()},
    )


def report(results: Mapping[str, Result]) -> dict[str, object]:
    """report.json, as its schema (schemas/report.v1.schema.json) says."""
    return {"version": 1, "checks": [{"name": n, **r.data()} for n, r in results.items()]}


def _findings(failed: Mapping[str, Result]) -> list[Finding]:
    """One for all checks that failed alike: a bundle that cannot be loaded fails most of them."""
    alike = dict[tuple[str, str, str], list[str]]()
    for name, result in failed.items():
        alike.setdefault((result.measured, result.wanted, result.note), []).append(name)
    return [
        Finding(
            what=f"check{'s' * (len(names) > 1)} {', '.join(names)} failed: "
            f"measured {measured}, wanted {wanted}",
            hint=note,
        )
        for (measured, wanted, note), names in alike.items()
    ]
