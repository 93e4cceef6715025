"""A fresh clone of a zoo over a filled store, beside the build that filled it, one without a store,
and `doit` with nothing to do. ZOO: a folder with recipes/; the recipes that come with tinybuild.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AIM = 5.0  # seconds
OWN = Path(__file__).parents[1] / "tinybuild/use/recipes"


def doit(root: Path, store: str) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "doit", "-n", "2"],
        cwd=root,
        env={**os.environ, "TINYBUILD_STORE": store},
        check=True,
        capture_output=True,
        text=True,
    )
    print(done.stdout.splitlines()[-1])
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", nargs="?", type=Path, help="with recipes/")
    parser.add_argument("--without", action="store_true", help="also build without a store")
    given = parser.parse_args()
    recipes = given.zoo / "recipes" if given.zoo else OWN
    with tempfile.TemporaryDirectory() as temporary:
        clones = [Path(temporary, name) for name in ("without", "first", "clone")]
        for root in clones:
            root.mkdir()
            (root / "dodo.py").write_text("from tinybuild.tasks import *\n")
            shutil.copytree(recipes, root / "recipes")
        store = str(Path(temporary, "store"))
        without = doit(clones[0], "off") if given.without else None
        first = doit(clones[1], store)
        clone = doit(clones[2], store)
        nothing = doit(clones[2], store)
    if without is not None:
        print(f"built without a store    {without:7.1f} s")
    print(f"built, and kept          {first:7.1f} s")
    print(f"restored in a clone      {clone:7.1f} s   {first / clone:5.1f} times faster")
    print(f"nothing to do            {nothing:7.1f} s")
    print(f"aim: a clone in at most {AIM:g} s")


if __name__ == "__main__":
    main()
