"""Model types built and validated in this process, for one that looks like another machine.

python -m kit.machines FOLDER DTYPE TYPE...     writes the sha256 of each file
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tinybuild import model, validate, wire
from tinybuild.errors import CheckFault
from tinybuild.workers import Job

SECTION = {"architecture": "auto", "shrink": "auto", "size": "tiny", "config": {}}


def build(model_type: str, dtype: str, last: str, root: Path) -> dict[str, str]:
    """The files of the stages up to the last, for a model type's default config: path -> sha256."""
    from transformers import CONFIG_MAPPING

    fetch = root / model_type / "fetch"
    CONFIG_MAPPING[model_type]().save_pretrained(fetch / "source")
    beside: dict[str, Any] = {"root": root, "facts": {}, "seed": 3}

    def job(stage: str, settings: dict[str, Any], **inputs: Path) -> Job:
        out = root / model_type / stage
        out.mkdir()
        more = {**beside, "settings": settings, "inputs": inputs, "out": out}
        return Job(task=f"{stage}:{model_type}", **more)

    section = {**SECTION, "dtype": dtype}
    made = job("model", {"model": section, "max_parameters": 10**6}, fetch=fetch)
    beside["facts"] = {"model": wire.dump(model.make(made))}
    wish = {"config": {}, "shrink": "auto", "size": "tiny"}
    if last == "validate":
        checked = job("validate", {"checks": {}, "model": wish}, fetch=fetch, model=made.out)
        with contextlib.suppress(CheckFault):  # what fails here must fail alike elsewhere
            validate.make(checked)
    files = [
        file for stage in ("model", "validate") for file in (root / model_type / stage).glob("*")
    ]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


if __name__ == "__main__":
    folder, dtype, last, *types = sys.argv[1:]
    built = {name: build(name, dtype, last, Path(folder)) for name in types}
    sys.stdout.write(json.dumps(built))
