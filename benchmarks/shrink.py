"""Shrinking a real vocabulary beside reading and writing its files once, and beside retraining it.

Takes folders of real tokenizers (default: three that may lie beside the repository). For each
prints, in one process with transformers imported, the fastest of a few runs of

- read + write: what the files hold, parsed and written again (JSON, protobuf, lines); and
  from_pretrained and save_pretrained, which is how transformers reads and writes them
- shrinking: method truncate, 5,000 tokens, of a source that has been read: choose, write, load the
  result and measure it on the corpus
- the whole tokenizer stage, which also reads the source
- train_new_from_iterator on the corpus that ships with tinybuild, to 5,000 tokens

and, each in a process of its own, the peak memory of loading and of shrinking.

    python benchmarks/shrink.py [FOLDER ...]
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = ("gpt2", "modernbert-base", "spm-op-128k")
SIZE, RUNS = 5000, 5
TIMES, PEAKS = 2.0, 3.0  # at most so many times reading and writing, and the peak of loading

# The peak of the largest process that a command starts, in MB; started by a small process, for a
# process begins with the peak of the one that started it.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
"""
LOAD = "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained({folder!r})"
SHRINK = """
from pathlib import Path
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.workers import Job
section = {{"method": "truncate", "vocab_size": {size}}}
settings = {{"tokenizer": section, "slot": "source", "kind": "path", "blank": False}}
tokenizer.make(Job(task="x", settings=settings | {{"related": True}}, facts={{}}, seed=0,
    inputs={{"fetch": Path({fetch!r})}}, root=Path({fetch!r}), out=Path({out!r})))
"""


def fastest(work: Callable[[Path], object]) -> float:
    """Seconds of the fastest of RUNS, each with an empty folder."""
    found = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            work(Path(folder))
            found.append(time.perf_counter() - start)
    return min(found)


def parsed(folder: Path, out: Path) -> None:
    """Every vocabulary file read into Python and written again."""
    from tinybuild.tokenizer import spm

    for path in folder.iterdir():
        if path.suffix == ".json":
            text = json.dumps(json.loads(path.read_bytes()), ensure_ascii=False)
            (out / path.name).write_text(text)
        elif spm.is_model(path):
            (out / path.name).write_bytes(spm.read(path).SerializeToString())
        else:
            (out / path.name).write_text("\\n".join(path.read_text().split("\\n")))


def peak(program: str) -> float:
    """MB that a fresh process takes at most."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PEAK, sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return float(done.stdout.split()[-1])


def measure(folder: Path) -> None:
    from transformers import AutoTokenizer

    from tinybuild import corpus
    from tinybuild.tokenizer.shrink import truncate
    from tinybuild.tokenizer.upstream import Upstream, read
    from tinybuild.tokenizer.work import Work

    def stage(out: Path) -> None:
        code = SHRINK.format(size=SIZE, fetch=str(folder.parent), out=str(out))
        exec(code, {})

    loaded = AutoTokenizer.from_pretrained(folder)
    files = fastest(lambda out: parsed(folder, out))
    through = fastest(lambda out: AutoTokenizer.from_pretrained(folder).save_pretrained(out))
    section = {"method": "truncate", "vocab_size": SIZE}

    def shrink(out: Path) -> None:
        source = Upstream(loaded=loaded, files=read(folder))
        truncate(Work(section=section, source=source, folder=folder, inputs={}, out=out))

    shrunk = fastest(shrink)
    shrunk -= fastest(lambda out: read(folder))
    whole = fastest(stage)
    texts = [*corpus.texts()]
    trained = fastest(
        lambda out: loaded.train_new_from_iterator([texts], SIZE, show_progress=False)
    )
    with tempfile.TemporaryDirectory() as out:
        loading = peak(LOAD.format(folder=str(folder)))
        shrinking = peak(SHRINK.format(size=SIZE, fetch=str(folder.parent), out=out))
    once = files + through
    print(f"{folder.parent.name}: {len(loaded):,} tokens")
    print(f"  read + write         {once:6.2f} s   files {files:.2f}, transformers {through:.2f}")
    print(f"  shrink to {SIZE:,}      {shrunk:6.2f} s   ratio {shrunk / once:.2f}  aim {TIMES}")
    print(f"  the whole stage      {whole:6.2f} s   ratio {whole / once:.2f}")
    print(f"  train on the corpus  {trained:6.2f} s   ratio {trained / once:.2f}")
    print(
        f"  memory               {shrinking:6.0f} MB  loading {loading:.0f} MB, "
        f"ratio {shrinking / loading:.2f}  aim {PEAKS}"
    )


def main() -> None:
    logging.disable(logging.WARNING)
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.path.insert(0, str(ROOT))
    place = ROOT.parent / "shared" / "upstreams"
    given = [Path(name) for name in sys.argv[1:]] or [place / name for name in LARGEST]
    folders = [folder for folder in given if folder.is_dir()]
    if not folders:
        raise SystemExit("no folder of a real tokenizer; give one")
    for folder in folders:
        with tempfile.TemporaryDirectory() as temporary:
            source = Path(temporary) / folder.name / "source"
            shutil.copytree(folder, source, copy_function=shutil.copyfile)
            measure(source)


if __name__ == "__main__":
    main()
