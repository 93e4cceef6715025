"""Every head class of every auto mapping of transformers: does it shrink, build and forward?

Each class of each model type is made by the model stage from the type's default config (with what
its recipe in recipes/architectures/ says where that is incomplete), loaded again, and asked for its
outputs on one batch. One call to a warm worker each, with limits, so that
one that hangs or dies is one line. Prints a table by task, and why each of the others does not.

    python benchmarks/heads.py [--types bert,clip] [--every 10] [--jobs 2] [--seconds 120]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tinybuild.cli import architectures
from tinybuild.config import heads
from tinybuild.errors import Fault, PackageFault
from tinybuild.files import pretty
from tinybuild.recipe import reading
from tinybuild.workers import Bug, Job, Limits, Pool

AIM = 0.95  # of the classes forward
MB = 1_000_000
PACKAGE = "(not counted) "


def listed(_: object) -> list[tuple[str, str, str]]:
    """(task, model type, class name) of all tables of transformers."""
    types = {model_type for task in heads.TASKS for model_type in heads.table(task)}
    return [
        (task, model_type, name)
        for model_type in sorted(types)
        for task, names in heads.of_type(model_type).items()
        for name in names
    ]


def section(model_type: str) -> dict[str, Any]:
    """The model section of a type's recipe; that of bert where it has none, without overrides."""
    folder = Path(__file__).parents[1] / "recipes" / architectures.GROUP
    file = folder / f"{architectures.PREFIX}{model_type}.yaml"
    if file.is_file():
        return dict(reading.read(file, file.name, "").data["model"])
    return {**section("bert"), "config": {}}


def _job(root: Path, model_type: str, wish: dict[str, Any]) -> Job:
    return Job(
        task=f"model:{model_type}",
        settings={"model": wish, "max_parameters": 50 * MB},
        inputs={"fetch": root / "fetch"},
        facts={},
        root=root,
        out=root / "out",
        seed=0,
    )


def attempt(argument: tuple[str, str]) -> int:
    """Shrink, build, load and forward one class; the bytes of its weights. Raises Fault."""
    import torch
    from transformers import CONFIG_MAPPING

    from tinybuild import model
    from tinybuild.feeding import inputs

    model_type, name = argument
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "fetch/source").mkdir(parents=True)
        (root / "out").mkdir()
        config = CONFIG_MAPPING[model_type]()
        data = json.loads(config.to_json_string(use_diff=False))
        (root / "fetch/source/config.json").write_text(pretty(data))
        wish = {**section(model_type), "architecture": name}
        _, taken = heads.choose(name, config)
        if taken is not config:  # its overrides are relative to the part that the class takes
            part = next((n for n in config.sub_configs if getattr(config, n) is taken), "")
            wish["config"] = wish["config"].get(part, {})
        try:
            facts = model.make(_job(root, model_type, wish))
        except Fault as fault:
            # The recipe's overrides are for another class of the type: this one reads fewer.
            idle = {f.key[-1] for f in fault.findings if " does not read " in f.what}
            if not idle or len(idle) < len(fault.findings):
                raise
            kept = {key: value for key, value in wish["config"].items() if key not in idle}
            facts = model.make(_job(root, model_type, {**wish, "config": kept}))
        model_class = heads.find(name, facts.model_type)
        made = model_class.from_pretrained(root / "out", dtype="auto").eval()
        with torch.no_grad():
            outputs = inputs.tensors(made(**inputs.batch(made, 0)))
        bad = [key for key, tensor in outputs.items() if not tensor.isfinite().all()]
        if bad or not outputs:
            raise Fault.of(f"not finite: {', '.join(bad)}" if bad else "no outputs")
        return sum(path.stat().st_size for path in (root / "out").glob("*.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--types", default="")
    parser.add_argument("--every", type=int, default=1, help="a sample: each Nth type")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=120)
    arguments = parser.parse_args()
    limits, pool = Limits(seconds=arguments.seconds), Pool()
    wanted = set(filter(None, arguments.types.split(",")))
    begun = time.perf_counter()

    def one(pair: tuple[str, str]) -> int | str:
        try:
            return int(pool.call("heads:attempt", pair, limits))
        except PackageFault as fault:
            return PACKAGE + fault.findings[0].what.splitlines()[0]
        except Fault as fault:
            return fault.findings[0].what.splitlines()[0]
        except Bug as bug:
            return str(bug).strip().splitlines()[-1]
        except OSError as error:
            return f"{type(error).__name__}: {error}"

    try:
        every = pool.call("heads:listed", None)
        sample = set(sorted({model_type for _, model_type, _ in every})[:: arguments.every])
        every = [line for line in every if line[1] in (wanted or sample)]
        pairs = sorted({(model_type, name) for _, model_type, name in every})
        with ThreadPoolExecutor(arguments.jobs) as threads:
            results: dict[Any, int | str] = dict(zip(pairs, threads.map(one, pairs), strict=True))
    finally:
        pool.stop()
    tasks = defaultdict(list)
    for task, model_type, name in every:
        tasks[task].append(results[model_type, name])
    tasks["all classes"] = list(results.values())
    print(f"{'task':32} {'classes':>8} {'forward':>8} {'<= 1 MB':>8}")
    for task in [*heads.TASKS, "all classes"]:
        made = [result for result in tasks[task] if isinstance(result, int)]
        small = sum(size <= MB for size in made)
        if tasks[task]:
            print(f"{task:32} {len(tasks[task]):8} {len(made):8} {small:8}")
    counted = [r for r in results.values() if not str(r).startswith(PACKAGE)]
    share = len(made) / max(len(counted), 1)
    took = time.perf_counter() - begun
    print(
        f"{100 * share:.1f} % of the classes forward; aim: at least {100 * AIM:.0f} %; {took:.0f} s"
    )
    for (model_type, name), result in results.items():
        if isinstance(result, str):
            print(f"{model_type:28} {name}: {result[:200]}")


if __name__ == "__main__":
    main()
