"""One seed makes the same weights, and the same report, whatever the CPU and the threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit import machines
from kit.files import ROOT

# CPU capability of torch, threads. A capability that the machine lacks is not tried: torch refuses.
PLAIN = ("default", 1)
TYPES = (
    *("resnet", "wav2vec2", "mamba", "llava", "mt5", "deepseek_v3", "rwkv", "vits"),
    *("t5gemma", "sam", "encodec", "detr", "bigbird", "qwen2_vl"),
)


def flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.is_file() else ""
    return {word for line in text.splitlines() if line.startswith("flags") for word in line.split()}


def capabilities() -> list[str]:
    """Those of torch that this machine has."""
    known = {"default": set[str](), "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512vl"}}
    return [name for name, wanted in known.items() if wanted <= flags()]


def built(folder: Path, machine: tuple[str, int], *asked: str) -> Any:
    capability, threads = machine
    environment = {
        **os.environ,
        "ATEN_CPU_CAPABILITY": capability,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "HF_HUB_OFFLINE": "1",
    }
    target = folder / f"{capability}-{threads}"
    command = [sys.executable, "-m", "kit.machines", str(target), *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_old_cpu_makes_the_same_as_this_one(tmp_path: Path) -> None:
    there = built(tmp_path, PLAIN, "float32", "model", "gpt2", "resnet")
    here = {name: machines.build(name, "float32", "model", tmp_path) for name in there}
    assert there == here
    assert all("model.safetensors" in files for files in here.values())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("capability", ["avx2", "avx512"])
def test_machines(tmp_path: Path, capability: str, threads: int, dtype: str) -> None:
    if capability not in capabilities():
        pytest.skip(f"this machine has no {capability}")
    machine = (capability, threads)
    asked = (dtype, "validate", *TYPES)
    assert built(tmp_path, PLAIN, *asked) == built(tmp_path, machine, *asked)
