"""Peak memory of building the BLOOM-176B recipe, beside `import torch, transformers` alone.

Prints both peaks (the largest process, resident set, as the kernel counts it) and the difference.

    python benchmarks/memory.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
AIM = 150  # MB above the imports

# The peak of the largest process that a command starts, in MB. What its processes leave behind when
# they end (the one that workers are forked from) comes to this one, and is waited for.
PEAK = """
import contextlib, ctypes, os, resource, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
with contextlib.suppress(ChildProcessError):
    while True:
        os.wait()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
"""


def peak(command: list[str], folder: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        zoo = Path(temporary)
        (zoo / "dodo.py").write_text("from tinybuild.tasks import *\n")
        (zoo / "recipes").mkdir()
        shutil.copy(ROOT / "recipes/bloom-176b.yaml", zoo / "recipes")
        shutil.copytree(ROOT / "recipes/sources", zoo / "recipes/sources")
        imports = peak([sys.executable, "-c", "import torch, transformers"], zoo)
        build = peak([sys.executable, "-m", "doit", "bloom-176b"], zoo)
    print(f"import torch, transformers   {imports:7.0f} MB")
    print(f"doit bloom-176b              {build:7.0f} MB")
    print(
        f"above the imports            {build - imports:7.0f} MB   aim: at most {AIM} MB"
        f"   ratio {build / imports:.2f}"
    )


if __name__ == "__main__":
    main()
