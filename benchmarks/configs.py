"""Real configs: does each config.json below a folder become a tiny model that passes every check?

Each is the source of a recipe that says no more than `model: {}`: no tokenizer, no override. The
model stage builds it and the validate stage checks it, in one warm process, with limits: one that
hangs or dies is one line. With --tokenizers a folder that has tokenizer files as well is built with
`tokenizer: {method: keep}`, so that its ids must fit. Prints a line a config, and what failed.

    python benchmarks/configs.py DIR [--only qwen,llama] [--every 4] [--seconds 120] [--tokenizers]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild import keys, wire
from tinybuild.engine import slices, stages
from tinybuild.errors import CheckFault, Fault
from tinybuild.paths import Data, whole
from tinybuild.recipe import Recipe, reading
from tinybuild.workers import Bug, Job, Limits, Pool, call

AIM = 0.95  # of the configs whose class transformers knows
LEAST, MOST, NARROW = 2, 8, 32  # layers of a stack, and the least width
RECIPE = "version: 1\nsummary: As it is found\nsource: {path: source}\nmodel: {}\n"
TOKENIZER = "tokenizer: {method: keep}\n"
STAGES = ("tokenizer", "model", "validate")


@dataclass(frozen=True, kw_only=True)
class Line:
    """What became of one config. depths: those of its stacks. least: of a source with one layer
    there is one. width: the least of its configs'."""

    class_: str = "-"
    parameters: int = 0
    depths: tuple[int, ...] = ()
    least: int = LEAST
    width: int = 0
    checks: int = 0
    failed: tuple[str, ...] = ()
    message: str = ""
    seconds: float = 0.0

    @property
    def built(self) -> bool:
        return not self.message and not self.failed

    @property
    def odd(self) -> bool:
        """Whether it is built, and too deep, too shallow or too narrow."""
        deep = not self.depths or self.least <= max(self.depths) <= MOST
        return self.built and not (deep and (not self.width or self.width >= NARROW))


def recipe(root: Path, text: str) -> Recipe:
    file = root / "found.yaml"
    file.write_text(text)
    return reading.read(file, file.name, "")


def attempt(argument: tuple[str, bool]) -> dict[str, Any]:
    """Build and check the config.json of a folder; what there is to tell of it. Raises Fault."""
    folder, with_tokenizer = Path(argument[0]), argument[1]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        source = root / "fetch" / "source"
        source.mkdir(parents=True)
        for path in sorted(folder.iterdir()):
            if path.is_file() and (with_tokenizer or path.name.endswith("config.json")):
                (source / path.name).write_bytes(path.read_bytes())
        asked = slices.Asked(
            recipe=recipe(root, RECIPE + TOKENIZER * with_tokenizer),
            wishes=(),
            others={},
            root=root,
        )
        facts: dict[str, Mapping[str, Any]] = {}
        inputs = {"fetch": root / "fetch"}
        for stage in STAGES:
            part = slices.SLICES[stage](asked)
            if part is None:
                continue
            out = root / stage
            out.mkdir()
            settings = dict(part.settings)
            if stage == "tokenizer":
                settings |= {"slot": "source", "kind": "path", "related": True}
            job = Job(
                task=f"{stage}:found",
                settings=settings,
                inputs=inputs,
                facts=facts,
                root=root,
                out=out,
                seed=0,
            )
            try:
                made = call(stages.STAGES[stage].function, job)
            except CheckFault:
                return told(root, facts["model"])
            facts[stage], inputs[stage] = wire.dump(made), out
        return told(root, facts["model"])


def told(root: Path, model: Mapping[str, Any]) -> dict[str, Any]:
    config = json.loads((root / "model" / "config.json").read_text())
    source = json.loads((root / "fetch" / "source" / "config.json").read_text())
    report = json.loads((root / "validate" / "report.json").read_text())["checks"]
    return {
        "class_": model["class"],
        "parameters": model["parameters"],
        "depths": tuple(depths(config)),
        "least": min(LEAST, max(depths(source), default=LEAST)),
        "width": min(widths(config), default=0),
        "checks": len(report),
        "failed": tuple(
            f"{one['name']}: {one['measured'][:160]}" for one in report if one["state"] == "failed"
        ),
    }


def depths(config: Data) -> Iterator[int]:
    """How many layers each stack of a config has, those that only a list counts too."""
    for path, node in keys.configs(config):
        if not path or "model_type" in node:
            yield from (value for _, value in keys.numbers(node, "depth"))
            yield from (
                len(value)
                for name, value in node.items()
                if isinstance(value, list) and value and keys.says(name, "kind of each layer")
            )


def widths(config: Data) -> Iterator[int]:
    for path, node in keys.configs(config):
        wide = keys.width(node)
        if whole(wide) and (not path or "model_type" in node):
            yield wide


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1, help="a sample: each Nth config")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--tokenizers", action="store_true")
    arguments = parser.parse_args()
    wanted = tuple(filter(None, arguments.only.split(",")))
    files = [
        f for f in sorted(arguments.folder.rglob("config.json")) if not wanted or _named(f, wanted)
    ]
    pool, limits = Pool(), Limits(seconds=arguments.seconds)
    lines: dict[str, Line] = {}
    print(
        f"{'config':40} {'class':40} {'parameters':>10} {'depth':>12} {'width':>5} {'s':>5}  "
        "what failed"
    )
    try:
        for file in files[:: arguments.every]:
            begun = time.perf_counter()
            with_tokenizer = arguments.tokenizers and any(file.parent.glob("*token*"))
            line = one(pool, (str(file.parent), with_tokenizer), limits)
            line = dataclasses.replace(line, seconds=time.perf_counter() - begun)
            name = str(file.parent.relative_to(arguments.folder))
            lines[name] = line
            show(name, line)
    finally:
        pool.stop()
    built = [line for line in lines.values() if line.built]
    odd = [name for name, line in lines.items() if line.odd]
    share = 100 * len(built) / max(len(lines), 1)
    print(
        f"{len(built)} of {len(lines)} build and pass every check ({share:.1f} %; "
        f"aim: {100 * AIM:.0f} %)"
    )
    print(f"too deep, too shallow or too narrow: {', '.join(odd) or 'none'}")
    print(f"{sum(line.seconds for line in lines.values()):.0f} s")


def _named(file: Path, wanted: tuple[str, ...]) -> bool:
    return any(name in file.parent.name for name in wanted)


def one(pool: Pool, argument: tuple[str, bool], limits: Limits) -> Line:
    try:
        return Line(**pool.call("configs:attempt", argument, limits, sort="warm"))
    except Fault as fault:
        return Line(message=fault.findings[0].what.splitlines()[0])
    except Bug as bug:
        return Line(message="BUG " + str(bug).strip().splitlines()[-1])
    except OSError as error:
        return Line(message=f"{type(error).__name__}: {error}")


def show(name: str, line: Line) -> None:
    deep = "/".join(map(str, sorted({*line.depths}))) or "-"
    # A bundle that does not load fails every check alike.
    reasons = dict.fromkeys(text.partition(": ")[2] for text in line.failed)
    first = [next(t for t in line.failed if t.endswith(reason)) for reason in reasons]
    rest = len(line.failed) - len(first)
    failed = "; ".join(first) + (f"; and {rest} more alike" if rest > 0 else "")
    wrong = line.message or failed or ("odd" if line.odd else f"{line.checks} checks")
    print(
        f"{name[:40]:40} {line.class_[:40]:40} {line.parameters:10,} {deep[:12]:>12} "
        f"{line.width:5} {line.seconds:5.1f}  {wrong}",
        flush=True,
    )


if __name__ == "__main__":
    main()
