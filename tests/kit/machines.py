"""Model types built and validated in this process, for one that looks like another machine.

python -m kit.machines FOLDER DTYPE TYPE...     prints the sha256 of each file
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tinybuild import model, validate, wire
from tinybuild.errors import CheckFault
from tinybuild.workers import Job

SECTION = {"architecture": "auto", "shrink": "auto", "size": "tiny", "config": {}}


def build(model_type: str, dtype: str, root: Path) -> dict[str, str]:
    """The files of the model and the validate stage for a model type's default config."""
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
    checked = job("validate", {"checks": {}, "model": wish}, fetch=fetch, model=made.out)
    try:
        validate.make(checked)
    except CheckFault:  # what fails here must fail alike elsewhere
        pass
    files = [*sorted(made.out.iterdir()), checked.out / "report.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    folder, dtype, *types = sys.argv[1:]
    built = {name: build(name, dtype, Path(folder)) for name in types}
    print(json.dumps(built))
