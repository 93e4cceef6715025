"""Real configs, built and checked by the stages as a recipe that says no more than model: {}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.files import SHARED
from kit.stage import MakeJob
from tinybuild import model, validate, wire
from tinybuild.engine import slices
from tinybuild.errors import CheckFault
from tinybuild.recipe import reading
from tinybuild.tokenizer import stage as tokenizer

RECIPE = "version: 1\nsummary: As it is found\nsource: {path: source}\nmodel: {}\n"
TOKENIZER = "tokenizer: {method: keep}\n"


def configs() -> list[str]:
    """The names of the configs that lie beside the repository; none where they do not."""
    return sorted(file.parent.name for file in (SHARED / "configs").glob("*/config.json"))


def config(name: str) -> Path:
    """The folder of a real config; the test is skipped where it is not."""
    folder = SHARED / "configs" / name
    if not folder.is_dir():
        pytest.skip(f"there is no real config {name}: shared/configs is not beside the project")
    return folder


def build(job: MakeJob, fetch: Path, more: str = "") -> tuple[Path, list[str]]:
    """The model's folder, and the checks that failed, of a recipe on `fetch`/source."""
    file = fetch / "found.yaml"
    file.write_text(RECIPE + more)
    read = reading.read(file, file.name, "")
    asked = slices.Asked(recipe=read, wishes=(), others={}, root=fetch)
    facts: dict[str, Any] = {}
    inputs: dict[str, Path] = {"fetch": fetch}
    made = {"tokenizer": tokenizer.make, "model": model.make, "validate": validate.make}
    for stage, make in made.items():
        part = slices.SLICES[stage](asked)
        if part is None:
            continue
        related = {"slot": "source", "kind": "path", "related": True}
        settings = {**part.settings, **(related if stage == "tokenizer" else {})}
        work = job(settings, facts=facts, **inputs)
        try:
            facts[stage], inputs[stage] = wire.dump(make(work)), work.out
        except CheckFault:
            report = json.loads((work.out / "report.json").read_text())
            failed = [one for one in report["checks"] if one["state"] == "failed"]
            return inputs["model"], [f"{one['name']}: {one['measured']}" for one in failed]
    return inputs["model"], []
