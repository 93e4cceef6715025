"""`doit` with nothing to do on a generated zoo of 1,000 recipes.

Beside it, in the same run and on the same files: reading the recipes, receipts and provenance and
asking the stat of every file that a receipt names (the least that any exact check must do, in
Python and without deciding anything), and ninja, make, Snakemake and DVC with nothing to do on the
same graph of stages (generated files are given to them; the first two compare times, Snakemake is
asked to, and DVC compares digests where times or sizes differ; none reads a recipe).

The zoo is built for real once (minutes) and kept with --keep FOLDER for another run.

    pip install ninja snakemake dvc
    python benchmarks/noop.py [--recipes 1000] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

AIM = 0.5  # seconds for 1,000 recipes
STAGES = ("fetch", "dataset", "tokenizer", "model", "validate", "pack")
RECIPE = """\
version: 1
summary: recipe {0} of a generated zoo
source: {{transformers: llama}}
dataset: {{samples: {1}}}
tokenizer: {{method: train, vocab_size: 600}}
model:
  architecture: LlamaForCausalLM
  seed: {0}
  config: {{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}}
"""


def generate(root: Path, count: int) -> None:
    (root / "recipes").mkdir(parents=True, exist_ok=True)
    (root / "dodo.py").write_text("from tinybuild.tasks import *\n")
    for number in range(count):
        text = RECIPE.format(number, 40 + number % 20)
        path = root / "recipes" / f"r{number}.yaml"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def graph(root: Path) -> list[tuple[str, str, str]]:
    """(output, input, stage) of each stage of each recipe: the receipts, in a chain."""
    edges = []
    for recipe in sorted((root / "recipes").glob("*.yaml")):
        before = f"recipes/{recipe.name}"
        for stage in STAGES:
            after = f"build/{recipe.stem}/{stage}/receipt.json"
            edges.append((after, before, stage))
            before = after
    return edges


def write_peers(root: Path) -> None:
    """build.ninja, Makefile, Snakefile and dvc.yaml; by their times nothing is out of date."""
    edges = graph(root)
    for after, _, _ in edges:  # in the order of the chain, so that times agree with it
        os.utime(root / after)
    last = [after for after, _, stage in edges if stage == "pack"]
    ninja = ["rule stage", "  command = true"]
    make = [".PHONY: all", f"all: {' '.join(last)}"]
    snake = ["rule all:", f"  input: {last!r}"]
    dvc = dict[str, object]()
    for number, (after, before, _) in enumerate(edges):
        ninja.append(f"build {after}: stage {before}")
        make.append(f"{after}: {before}\n\ttrue")
        snake.append(f"rule r{number}:\n  input: {before!r}\n  output: {after!r}\n  shell: 'true'")
        outs = [{after: {"cache": False}}]
        dvc[f"s{number}"] = {"cmd": "true", "deps": [before], "outs": outs}
    for name, lines in (("build.ninja", ninja), ("Makefile", make), ("Snakefile", snake)):
        (root / name).write_text("\n".join(lines) + "\n")
    (root / "dvc.yaml").write_text(json.dumps({"stages": dvc}))  # JSON is YAML


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another program with nothing to do. first: what has it take note of what is there."""

    name: str
    command: tuple[str, ...]
    first: tuple[tuple[str, ...], ...]


SNAKE = ("snakemake", "--cores", "1", "--quiet", "all", "--rerun-triggers", "mtime")
PEERS = (
    Peer(name="ninja", command=("ninja",), first=(("ninja",),)),  # it writes its log
    Peer(name="make", command=("make", "-s"), first=()),
    Peer(name="snakemake", command=SNAKE, first=((*SNAKE, "--touch"),)),
    Peer(
        name="dvc",
        command=("dvc", "repro", "--quiet"),
        first=(("dvc", "init", "--no-scm", "--force"), ("dvc", "commit", "--force", "--quiet")),
    ),
)


def floor(root: Path) -> None:
    """Read and stat what doit must read and stat."""
    for path in (root / "recipes").iterdir():
        path.read_bytes()
    for recipe in (root / "build").iterdir():
        if recipe.is_dir():
            for stage in STAGES:
                folder = f"{recipe}/{stage}"
                json.loads(Path(folder, "provenance.json").read_bytes())
                receipt = json.loads(Path(folder, "receipt.json").read_bytes())
                base = f"{root}/dist" if stage == "pack" else folder
                for name in receipt["files"]:
                    os.stat(f"{base}/{name}")


def median(action: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    os.environ["TINYBUILD_STORE"] = "off"  # what is measured is made
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipes", type=int, default=1000)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (arguments.keep or Path(temporary) / "zoo").resolve()
        generate(root, arguments.recipes)

        def run(*command: str) -> Callable[[], object]:
            return lambda: subprocess.run(
                command, cwd=root, check=True, capture_output=True, text=True
            )

        doit = (sys.executable, "-m", "doit")
        begun = time.perf_counter()
        run(*doit, "-n", "2")()
        print(f"built or up to date          {time.perf_counter() - begun:7.2f} s", flush=True)
        write_peers(root)
        time.sleep(3)  # files must be two seconds old before their digests are remembered
        run(*doit)()
        said = subprocess.run(doit, cwd=root, check=True, capture_output=True, text=True).stdout
        assert said == f"{arguments.recipes} recipes are up to date\n", said
        ours = median(run(*doit))
        start = median(run(*doit, "--version"))
        read = median(lambda: floor(root))
        print(f"doit, nothing to do          {ours:7.2f} s   aim: at most {AIM} s for 1,000")
        print(f"  of it, starting doit       {start:7.2f} s")
        print(
            f"read and stat the same files {read:7.2f} s   doit costs {ours / read:6.1f} times that"
        )
        for peer in PEERS:
            if shutil.which(peer.name) is None:
                print(f"{peer.name}: not installed")
                continue
            for command in peer.first:
                run(*command)()
            took = median(run(*peer.command), runs=3)
            print(
                f"{peer.name:<29}{took:7.2f} s   doit costs {ours / took:6.2f} times that",
                flush=True,
            )


if __name__ == "__main__":
    main()
