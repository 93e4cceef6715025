"""Does what was built work? The validate stage and its table of checks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
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
from tinybuild.validate.check import Check, NoBatch, Subject, failed
from tinybuild.validate.reader import reader
from tinybuild.workers import Job

# Stage whose output a check is about -> the checks, in the order they run and are reported.
# A check that does not apply to a bundle returns None.
CHECKS: Mapping[str, tuple[Callable[[Subject], Check | None], ...]] = {
    "tokenizer": (
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
    ),
    "model": (
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
    ),
    "dataset": (dataset.dataset_loads, pairs.rows_train),
    "bundle": (loaded.max_bytes,),
}


def make(job: Job) -> dict[str, Any]:
    """The validate stage: report.json. All checks run and are reported, also where one of them
    fails, which fails the task (CheckFault).

    Settings: checks (bounds as numbers), source (where the files of a shrunken tokenizer's source
    are, and its class), model (what the recipe says of it: config, shrink, size). Inputs:
    tokenizer, model, dataset, as far as the recipe makes them, and fetch: the config of the
    model's source, and the files of a shrunken tokenizer's. Facts: checks (how many passed), bytes.
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
        results = [
            run(check, subject)
            for stage, checks in CHECKS.items()
            if stage in job.inputs or stage == "bundle"
            for check in checks
        ]
        size = bundle.size(packed)
    done = [check for check in results if check is not None]
    report = {"version": 1, "checks": [check.data() for check in done]}
    (job.out / "report.json").write_text(pretty(report), encoding="utf-8")
    broken = [check for check in done if not check.ok]
    if broken:
        passed = ", ".join(check.name for check in done if check.ok) or "none"
        raise CheckFault(
            [
                *(
                    Finding(
                        what=f"check {check.name} failed: measured {check.measured}, "
                        f"wanted {check.wanted}",
                        hint=check.note,
                    )
                    for check in broken
                ),
                Finding(what=f"passed: {passed}"),
            ]
        )
    return {"checks": len(done), "bytes": size}


def run(check: Callable[[Subject], Check | None], subject: Subject) -> Check | None:
    """One check; what it raises is what it measured. None: it does not apply to this bundle."""
    try:
        return check(subject)
    except NoBatch as fault:
        return failed(check.__name__, fault) if check is alive.forward else None
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - a model that raises has failed its check
        return failed(check.__name__, error)
