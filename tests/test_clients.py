"""The core of docs/clients.md: transformers 4.57 reads `compat: transformers-4` alike.

TINYBUILD_TRANSFORMERS_4 names a Python with transformers 4.57 (`benchmarks/clients.py --make`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit.zoo import doit, make

ROOT = Path(__file__).parents[1]
BATTERY = ROOT / "benchmarks/battery"
VARIABLE = "TINYBUILD_TRANSFORMERS_4"


def answers(python: str, bundles: Path) -> dict[tuple[str, str], Any]:
    """(item, bundle) -> what battery/same.py finds in that Python."""
    done = subprocess.run(
        [python, BATTERY / "run.py", "same", bundles],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["ok"] for line in lines), lines
    return {(line["item"], line["bundle"]): json.loads(line["said"]) for line in lines}


@pytest.mark.slow
def test_transformers_4_reads_compat_alike(tmp_path: Path) -> None:
    older = os.environ.get(VARIABLE)
    if not older:
        pytest.skip(f"{VARIABLE} names no Python with transformers 4.57")
    root = make(tmp_path / "zoo")
    for path in (BATTERY / "recipes").glob("compat-*.yaml"):
        shutil.copy(path, root / "recipes")
    built = doit(root)
    assert built.code == 0, built.out + built.err
    here, there = answers(sys.executable, root / "dist"), answers(older, root / "dist")
    assert len(here) >= 6
    assert there.keys() == here.keys()
    for (item, bundle), wanted in here.items():
        found = there[item, bundle]
        if item == "outputs":
            assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5), bundle
        else:
            assert found == wanted, (item, bundle)
