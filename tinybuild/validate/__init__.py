"""Does what was built work? The validate stage and its table of checks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tinybuild import bundle
from tinybuild.errors import CheckFault, Finding
from tinybuild.files import pretty
from tinybuild.validate import (
    alive,
    coherent,
    dataset,
    dimensions,
    loaded,
    pairs,
    processor,
    shrunk,
    tokenizer,
)
from tinybuild.validate.check import STATES, Check
from tinybuild.validate.reader import reader
from tinybuild.validate.subject import Subject
from tinybuild.workers import Job

# In the order in which they run and are reported. Each says what it needs of a bundle.
CHECKS: tuple[Check, ...] = (
    tokenizer.tokenizer_loads,
    tokenizer.ids_without_holes,
    tokenizer.special_tokens,
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
    coherent.every_layer_kind,
    coherent.layer_indexes,
    dimensions.no_dimension_left,
    alive.forward,
    alive.backward,
    alive.gradients,
    alive.inputs_matter,
    alive.every_modality,
    alive.generate,
    alive.generation_differs,
    alive.trains,
    loaded.fresh_process,
    processor.processor_tokens,
    processor.processor_feeds_model,
    dataset.dataset_loads,
    pairs.rows_train,
    loaded.max_bytes,
)


def make(job: Job) -> dict[str, Any]:
    """The validate stage: report.json. All checks run and are reported, also where one of them
    fails, which fails the task (CheckFault).

    Settings: checks (bounds as numbers), source (where the files of a shrunken tokenizer's source
    are, and its class), model (what the recipe says of it: config, shrink, size). Inputs:
    tokenizer, model, dataset, as far as the recipe makes them, and fetch: the config of the
    model's source, and the files of a shrunken tokenizer's. Facts: checks (how many passed),
    untried (how many could not be tried here), bytes.
    """
    if "model" in job.inputs:
        reader()  # it starts while the other checks run
    origin = job.settings.get("source", {})
    with tempfile.TemporaryDirectory(dir=job.out, prefix=".packed-") as temporary:
        packed = Path(temporary) / "bundle"
        packed.mkdir()
        bundle.lay(job.inputs, packed)
        subject = Subject(
            folder=packed,
            scratch=Path(temporary),
            facts=job.facts,
            checks=job.settings["checks"],
            seed=job.seed,
            upstream=job.inputs["fetch"] / origin["slot"] if origin else None,
            tokenizer_class=origin.get("class"),
            origin=job.inputs["fetch"] / "source" if "model" in job.settings else None,
            wish=job.settings.get("model"),
        )
        results = [(check, check.run(subject)) for check in CHECKS]
        size = bundle.size(packed)
    done = {check.name: result for check, result in results if result is not None}
    checks = [{"name": name, **result.data()} for name, result in done.items()]
    report = {"version": 1, "checks": checks}
    (job.out / "report.json").write_text(pretty(report), encoding="utf-8")
    named = {state: [n for n, result in done.items() if result.state == state] for state in STATES}
    if named["failed"]:
        faults = [
            Finding(
                what=f"check {name} failed: measured {done[name].measured}, "
                f"wanted {done[name].wanted}",
                hint=done[name].note,
            )
            for name in named["failed"]
        ]
        passed = Finding(what=f"passed: {', '.join(named['passed']) or 'none'}")
        raise CheckFault([*faults, passed])
    return {"checks": len(named["passed"]), "untried": len(named["not tried"]), "bytes": size}
