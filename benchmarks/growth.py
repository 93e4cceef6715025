"""`doit` with nothing to do on zoos of growing size: CPU seconds and memory, beside their floors.

One recipe is built for real. What the stages of all others are taken to have made are copies of its
files, under papers of their own that the engine writes: states, receipts and provenance are what a
build of them would leave. So a zoo of 1,000 stands in a minute, and one of 10,000 in ten.

    python benchmarks/growth.py [--sizes 30 200 1000] [--keep FOLDER] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from noop import generate

from tinybuild.engine import receipts
from tinybuild.engine.plan import load
from tinybuild.engine.receipts import Receipt
from tinybuild.engine.run import Builder
from tinybuild.engine.stages import Task
from tinybuild.files import Memo
from tinybuild.recipe import Cache
from tinybuild.workers import Pool

FIRST = "r0"
DOIT = (sys.executable, "-m", "doit")


def fill(root: Path, count: int) -> None:
    """A zoo of so many recipes, all built; those that are there already stay."""
    generate(root, count)
    subprocess.run([*DOIT, FIRST], cwd=root, check=True, stdout=subprocess.DEVNULL)
    memo = Memo()
    zoo = load(root, memo, Cache(root / "none", memo))
    builder = Builder(root, memo, Pool())
    for task in zoo.tasks.values():
        if not (builder.place(task.name) / "receipt.json").is_file():
            lay(builder, task)


def lay(builder: Builder, task: Task) -> None:
    """What a task would leave, had it made what it made of the first recipe."""
    first, name = f"{task.stage}:{FIRST}", task.recipe.name
    made = builder.receipt(first)
    assert made is not None

    def own(file: str) -> str:
        return f"{name}{file.removeprefix(FIRST)}" if task.stage == "pack" else file

    receipt = Receipt(
        files={own(file): entry for file, entry in made.files.items()}, facts=made.facts
    )
    place = builder.place(task.name)
    place.mkdir(parents=True)
    for file in made.files:
        target = builder.files_of(task.name) / own(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(builder.files_of(first) / file, target)
    papers = receipts.written(task.name, receipt, builder.state(task))
    for paper, text in papers.items():
        (place / paper).write_text(text, encoding="utf-8")
    builder.receipts[task.name] = receipt


def spent(*command: str, root: Path, runs: int = 5) -> float:
    """CPU seconds of a command, the least of some runs."""
    times = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def peak(*command: str, root: Path) -> float:
    """MB that a command takes at most."""
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def touched(root: Path) -> float:
    """CPU seconds of `doit` when the text of one recipe of many was touched, and says the same."""
    time.sleep(3)
    os.utime(root / "recipes" / f"{FIRST}.yaml")
    return spent(*DOIT, root=root, runs=1)


def stats(root: Path) -> float:
    """CPU seconds to ask the stat of each file and folder of the zoo, in one Python: the floor."""
    paths = [
        path for top in ("recipes", "build", "dist") for path in map(str, (root / top).rglob("*"))
    ]
    begun = time.process_time()
    for path in paths:
        os.stat(path)
    return time.process_time() - begun


def measure(root: Path, count: int) -> dict[str, float]:
    fill(root, count)
    time.sleep(3)  # what is younger than two seconds is not kept
    python = (sys.executable, "-c", "pass")
    return {
        "recipes": count,
        "by content": spent(*DOIT, root=root, runs=1),
        "known": spent(*DOIT, root=root, runs=3),
        "MB": peak(*DOIT, root=root),
        "touched": touched(root),
        "MB touched": peak(*DOIT, root=root),  # too young to be kept: the zoo is read again
        "stat": stats(root),
        "doit": spent(*DOIT, "--version", root=root, runs=3),
        "python": spent(*python, root=root, runs=3),
    }


LINES = {  # what is plotted: its name, its colour, and its seconds in a row
    "nothing to do": ("#1f6feb", lambda row: row["known"]),
    "doit's start and stat of the same files": (
        "#888",
        lambda row: row["doit"] + row["stat"],
    ),
}
WIDE, HIGH, EDGE = 640, 320, 60


def plot(rows: list[dict[str, float]]) -> str:
    """The seconds by the number of recipes, as SVG."""
    most = max(row["recipes"] for row in rows)
    top = 1.1 * max(second(row) for row in rows for _, second in LINES.values())

    def at(recipes: float, seconds: float) -> tuple[float, float]:
        across, up = WIDE - 2 * EDGE, HIGH - 2 * EDGE
        return EDGE + across * recipes / most, HIGH - EDGE - up * seconds / top

    (left, bottom), (right, upper) = at(0, 0), at(most, top)
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-size="13"'
        ' font-family="sans-serif">',
        f'<path d="M{left} {upper}V{bottom}H{right}" fill="none" stroke="#888"/>',
        f'<text x="{left}" y="{upper - 8:.0f}" fill="#888">seconds of the processor</text>',
    ]
    for row in rows:
        x, _ = at(row["recipes"], 0)
        named = f"{row['recipes']:,.0f}" if row["recipes"] > most / 20 else ""
        place = f'x="{x:.0f}" y="{bottom + 18:.0f}" text-anchor="middle"'
        made.append(f'<text {place} fill="#888">{named}</text>')
    for number, (name, (colour, second)) in enumerate(LINES.items()):
        points = [at(row["recipes"], second(row)) for row in rows]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        made.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        made += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        place = f'x="{left + 20}" y="{upper + 18 * (number + 1):.0f}"'
        made.append(f'<text {place} fill="{colour}">{name}</text>')
        x, y = points[-1]
        told = f"{second(rows[-1]):.2f}"
        made.append(f'<text x="{x + 6:.0f}" y="{y + 4:.0f}" fill="{colour}">{told}</text>')
    return "\n".join([*made, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30, 200, 1000])
    parser.add_argument("--keep", type=Path, help="where the zoo is, and stays")
    parser.add_argument("--plot", type=Path, help="an SVG file to draw")
    given = parser.parse_args()
    rows = list[dict[str, float]]()
    os.environ["TINYBUILD_STORE"] = "off"
    with tempfile.TemporaryDirectory() as temporary:
        root = (given.keep or Path(temporary) / "zoo").resolve()
        for count in sorted(given.sizes):
            row = measure(root, count)
            rows.append(row)
            print(json.dumps({key: round(value, 3) for key, value in row.items()}), flush=True)
    if given.plot:
        given.plot.write_text(plot(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
