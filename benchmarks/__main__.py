"""All benchmarks as one table: `python -m benchmarks [NAME ...]`; each prints times and ratios.

A ratio compares what was measured in one run on one machine; seconds are only shown beside it. With
--history FILE the output is appended to a file, a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
# name -> the script with its arguments; what each compares.
TABLE: Mapping[str, tuple[tuple[str, ...], str]] = {
    "growth": (("growth.py",), "nothing to do, and one touched, from 30 recipes to 1,000"),
    "noop": (
        ("noop.py", "--recipes", "200"),
        "nothing to do, against stat and four other programs",
    ),
    "cold": (("cold.py",), "30 recipes with 1 and 2 workers, against 30 scripts, by make too"),
    "store": (("store.py", "--without"), "a clone over a filled store, against building"),
    "dataset": (("dataset.py",), "sampling, against plain datasets"),
    "shrink": (("shrink.py",), "shrinking, against load, save and retraining"),
    "stages": (("stages.py",), "the stages of types of the zoo of architectures"),
    "memory": (("memory.py",), "the peak of a build, above the imports"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TABLE)} [all]")
    parser.add_argument("--history", type=Path, help="a file to append to")
    given = parser.parse_args()
    if unknown := {*given.names} - {*TABLE}:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(TABLE)}")
    failed = False
    for name in given.names or TABLE:
        (script, *words), about = TABLE[name]
        print(f"{name}: {about}", flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / script), *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), flush=True)
        failed |= done.returncode != 0
        if given.history is not None:
            row = {
                "when": time.strftime("%Y-%m-%d"),
                "machine": f"{platform.machine()}, {os.cpu_count()} processors",
                "name": name,
                "code": done.returncode,
                "said": done.stdout.splitlines(),
            }
            with given.history.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
