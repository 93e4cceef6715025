"""Sampling rows beside `datasets` used naively: load all, select, save.

Makes a Parquet set of rows (text, number, label; 10 files, row groups of 1,000) and a tar of text
files (10 kB each, one row a file) in a temporary folder. Then takes 10,000 rows of each: the first,
and at random; by the whole dataset stage (rows, card), and by load_dataset into an empty cache,
select or shuffle + select, to_parquet. Each in a fresh process, the fastest of --runs. Prints
seconds of the work itself, by the clock and of the processors, and the process' peak memory; both
processes also import datasets; that time stands beside.

    python benchmarks/dataset.py [--rows 1000000] [--bytes 1000000000] [--samples 10000] [--runs 1]
        [--ways "first random spread"] [--in DIR]

With --bytes 0 there is no tar, with --rows 0 no Parquet.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FASTER, MORE = 5.0, 200  # first: times as fast, at least; random: MB more than naively, at most
SHARDS, GROUP, TEXT = 10, 1000, 10_000

# Runs a program in a process of its own and says its peak in MB; itself small, for a process begins
# with the peak of the one that started it.
PEAK = """
import resource, subprocess, sys
print(subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE, text=True).stdout)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
"""
START = """
import time
begin = time.perf_counter()
import datasets, pyarrow.parquet
from pathlib import Path
datasets.disable_progress_bars()
source, out, samples = Path({source!r}), Path({out!r}), {samples}
start, spent = time.perf_counter(), time.process_time()
"""
END = """
print(time.perf_counter() - start, time.process_time() - spent, start - begin)
"""
STAGE = """
from tinybuild.dataset import stage as dataset
from tinybuild.workers import Job
names = [p.name for p in source.iterdir()] if source.is_dir() else [source.name]
section = {{"source": {{"path": "x"}} | {more}, "samples": samples, "select": {way!r}}}
made = dataset.make(Job(task="x", settings={{"dataset": section}}, facts={{}}, seed=1, root=out,
    inputs={{"dataset": source}}, out=out, upstream={{"dataset": dict.fromkeys(names, "")}}))
assert made["rows"] == samples
"""
NAIVE = """
options = {more}
data = datasets.load_dataset({module!r}, data_files=[str(p) for p in {files}], split="train",
    cache_dir=str(out / "cache"), **options)
if {way!r} == "random":
    data = data.shuffle(seed=1)
data = data.select(range(samples))
assert len(data) == samples
data.to_parquet(out / "train.parquet")
"""


def words() -> list[str]:
    from tinybuild import corpus

    return " ".join(corpus.texts()).split()


def parquet(folder: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chooser, known = random.Random(0), words()
    folder.mkdir()
    # Texts of 50 words; each row's own number keeps them apart.
    pool = [" ".join(chooser.choices(known, k=50)) for _ in range(20_000)]
    each = -(-rows // SHARDS)
    for shard in range(SHARDS):
        numbers = range(shard * each, min(rows, (shard + 1) * each))
        table = pa.table(
            {
                "text": [f"{number} {pool[number * 7919 % len(pool)]}" for number in numbers],
                "number": pa.array(numbers, pa.int64()),
                "label": pa.array([number % 5 for number in numbers], pa.int8()),
            }
        )
        pq.write_table(table, folder / f"train-{shard:05}.parquet", row_group_size=GROUP)


def archive(path: Path, size: int) -> None:
    chooser, known = random.Random(0), words()
    pool = [" ".join(chooser.choices(known, k=200)) for _ in range(2000)]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(size // (TEXT + 512)):
            text = f"{number}\n" + "\n".join(chooser.choices(pool, k=TEXT // 500))
            data = text.encode()[:TEXT].decode(errors="ignore").encode()
            member = tarfile.TarInfo(f"texts/{number:07}.txt")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def measure(work: str, place: Path, **values: object) -> tuple[float, float, float, float]:
    """(seconds of the work, the processors' seconds, seconds of imports, MB) in a fresh process."""
    with tempfile.TemporaryDirectory(dir=place) as out:
        program = (START + work + END).format(out=out, **values)
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "HF_HOME": out}
        command = [sys.executable, "-c", PEAK, sys.executable, "-c", program]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    seconds, spent, imports, peak = (float(word) for word in done.stdout.split()[-4:])
    return seconds, spent, imports, peak


def compare(
    name: str, source: Path, module: str, files: str, arguments: argparse.Namespace
) -> None:
    more = {"sample_by": "document"} if module == "text" else {}
    print(f"{name}, {arguments.samples:,} rows")
    for way in arguments.ways.split():
        values = {"source": str(source), "samples": arguments.samples, "way": way, "more": more}
        runs = []
        for _ in range(arguments.runs):  # in turns, for other work of the machine slows both
            ours = measure(STAGE, source.parent, **values)
            beside = None
            if way != "spread":
                beside = measure(NAIVE, source.parent, module=module, files=files, **values)
            runs.append((ours, beside))
        work = min(ours for ours, _ in runs)
        line = f"  {way:7}{work[0]:7.2f} s (cpu {work[1]:.2f}) {work[3]:5.0f} MB"
        naive = [beside for _, beside in runs if beside is not None]
        if naive:
            beside = min(naive)
            line += f"   naively {beside[0]:7.2f} s (cpu {beside[1]:.2f}) {beside[3]:5.0f} MB"
            whole = (beside[0] + beside[2]) / (work[0] + work[2])
            line += f"   {beside[0] / work[0]:.1f} times as fast (cpu {beside[1] / work[1]:.1f}, "
            line += f"with imports {whole:.1f}), {work[3] - beside[3]:+.0f} MB"
            aim = {"first": f"aim {FASTER:.0f} times", "random": f"aim +{MORE} MB"}
            line += f"   {aim[way]}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--ways", default="first random spread")
    parser.add_argument("--in", dest="place", help="where the temporary folder is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        if arguments.rows:
            rows = Path(place, "parquet")
            parquet(rows, arguments.rows)
            size = sum(path.stat().st_size for path in rows.iterdir())
            title = f"{arguments.rows:,} rows of Parquet ({size / 1e6:,.0f} MB)"
            compare(title, rows, "parquet", "sorted(source.iterdir())", arguments)
        if arguments.bytes:
            tar = Path(place, "texts.tar")
            archive(tar, arguments.bytes)
            title = f"{tar.stat().st_size / 1e6:,.0f} MB of text files in a tar"
            compare(title, tar, "text", "[source]", arguments)


if __name__ == "__main__":
    main()
