"""Builds on real workers of Dask, on loopback: the same bytes, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from kit.cluster import cluster, wait
from kit.zoo import LIGHT, Result, command, doit, environment, make, snapshot, tinybuild

pytest.importorskip("distributed")  # the extra dask

from tinybuild.engine.plan import load
from tinybuild.files import Memo
from tinybuild.machines.cluster import Cluster
from tinybuild.machines.dispatch import Dispatch, Patience, Terms
from tinybuild.machines.orders import orders
from tinybuild.recipe import Cache

MADE = "version: 1\nsummary: from another\ndataset: {source: {recipe: r4}, samples: 2}\n"
LOCAL = "version: 1\nsummary: local\ndataset: {source: {path: ../../rows}, samples: 2}\n"
FAILS = "version: 1\nsummary: no such column\ndataset: {samples: 3, columns: {drop: [none]}}\n"


def rows(count: int, **more: str) -> dict[str, str]:
    """Recipes that build in a light worker."""
    return {f"r{n}": LIGHT.replace("5", str(n)) for n in range(4, 4 + count)} | more


def outcomes(root: Path) -> Mapping[str, str]:
    told = json.loads((root / "build/run.json").read_text())
    return {row["recipe"]: row["outcome"] for row in told["recipes"]}


def test_a_worker_builds_what_this_machine_builds(tmp_path: Path) -> None:
    """The least of it: one worker, one recipe. (`test_dispatch` has what becomes of orders.)"""
    one, many = (make(tmp_path / name, **rows(1)) for name in ("one", "many"))
    assert doit(one, TINYBUILD_STORE="off").code == 0
    with cluster(tmp_path / "cluster", 1) as site:
        result = doit(many, "--on", f"dask:{site.file}", TINYBUILD_STORE=str(tmp_path / "store"))
    assert result.code == 0, result.out + result.err
    assert outcomes(many) == {"r4": "built"}
    assert snapshot(many) == snapshot(one)


@pytest.mark.slow
def test_workers_build_what_one_machine_builds(tmp_path: Path) -> None:
    """Recipes made from others, local rows that lie outside of the zoo, and one that fails; then
    again, which builds nothing."""
    recipes = rows(2, made=MADE, local=LOCAL, fails=FAILS)
    for name in ("one", "many"):
        make(tmp_path / name / "zoo", **recipes)
        (tmp_path / name / "rows").mkdir()
        (tmp_path / name / "rows/a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    one, many = tmp_path / "one/zoo", tmp_path / "many/zoo"
    assert doit(one, TINYBUILD_STORE="off").code == 1
    store = str(tmp_path / "store")
    with cluster(tmp_path / "cluster", 2) as site:
        on = f"dask:{json.loads(site.file.read_bytes())['address']}"
        result = doit(many, "--on", on, TINYBUILD_STORE=store)
        assert result.code == 1, result.out + result.err
        assert outcomes(many) == {
            **dict.fromkeys(("r4", "r5", "made", "local"), "built"),
            "fails": "FAILED",
        }
        assert snapshot(many) == snapshot(one)  # receipts, reports, and the note of the failure
        assert "dataset:fails" in result.out
        assert "4 built, 1 failed in " in result.out
        (many / "recipes/fails.yaml").unlink()
        result = doit(many, "--on", on, TINYBUILD_STORE=store)
        assert "4 recipes are up to date\n" in result.out, result.out + result.err
        # A store that is not named, and workers that have another one.
        refused = tinybuild(many, "build", "--on", on)
        assert (refused.code, refused.out) == (1, "")
        assert "TINYBUILD_STORE: --on dask needs a store" in refused.err


def begun(root: Path, on: str, store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("--on", on),
        cwd=root,
        env=environment(TINYBUILD_STORE=str(store)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> Result:
    out, _ = process.communicate(timeout=600)
    return Result(code=process.returncode, out=out, err="")


def kept(store: Path) -> int:
    return sum(1 for _ in store.glob("v1/entries/*/*.json"))


@pytest.mark.slow
def test_two_of_four_workers_are_killed(tmp_path: Path) -> None:
    one, many = (make(tmp_path / name, **rows(12, made=MADE)) for name in ("one", "many"))
    assert doit(one, TINYBUILD_STORE="off").code == 0
    store = tmp_path / "store"
    with cluster(tmp_path / "cluster", 4) as site:
        process = begun(many, f"dask:{site.file}", store)
        wait(lambda: kept(store) > 3)
        for number in range(2):
            wait(lambda number=number: any(site.folder(number).rglob("recipes/*.yaml")))
            site.kill(f"worker-{number}")
        result = ended(process)
    assert result.code == 0, result.out
    assert {*outcomes(many).values()} <= {"built", "restored"}
    assert snapshot(many) == snapshot(one)


@pytest.mark.slow
def test_a_lost_scheduler_ends_it_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    root, store = make(tmp_path / "zoo", **rows(4)), tmp_path / "store"
    with cluster(tmp_path / "cluster", 2) as site:
        process = begun(root, f"dask:{site.file}", store)
        wait(lambda: kept(store) > 1)
        site.kill("scheduler")
        result = ended(process)
        assert result.code == 1, result.out
        assert "was lost\n  hint: run it again" in result.out
        told = outcomes(root)
        finished = {name for name, outcome in told.items() if outcome != "FAILED"}
        assert finished
        assert "FAILED" in told.values()
    with cluster(tmp_path / "other", 2) as site:
        result = ended(begun(root, f"dask:{site.file}", store))
    assert result.code == 0, result.out
    assert {name for name, outcome in outcomes(root).items() if outcome == "up to date"} == finished


@pytest.mark.slow
def test_a_recipe_that_kills_its_workers_harms_no_other(tmp_path: Path) -> None:
    root, store = make(tmp_path / "zoo", **rows(6, poison=LIGHT)), tmp_path / "store"
    failures = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with cluster(tmp_path / "cluster", 2, **failures) as site:
        over, killed = threading.Event(), list[int]()
        watch = threading.Thread(target=lambda: killed.extend(site.poisoned("poison", over)))
        watch.start()
        try:
            result = ended(begun(root, f"dask:{site.file}", store))
        finally:
            over.set()
            watch.join()
    assert len(killed) >= 4
    assert result.code == 1, result.out
    assert outcomes(root) == {**dict.fromkeys(rows(6), "built"), "poison": "FAILED"}
    assert "the worker that built it died, and so did the next" in result.out
    assert "failed: " in result.out.splitlines()[-2]
    # Without the poison it is built, and nothing else is.
    assert doit(root, TINYBUILD_STORE=str(store)).code == 0
    assert outcomes(root)["poison"] == "built"


@pytest.mark.slow
def test_a_straggler_holds_nobody_up(tmp_path: Path) -> None:
    """A worker that stands still: what it took up is built by another."""
    root, store = make(tmp_path / "zoo", **rows(3)), tmp_path / "store"
    here = load(root, Memo(), Cache(root / "none", Memo()))
    with cluster(tmp_path / "cluster", 2) as site:
        wait(lambda: "127.0.0.1" in site.file.read_text())
        client = Cluster(str(site.file), 0, "tinybuild-straggler")
        patience = Patience(late=5.0, times=0.0)
        terms = Terms(topic="tinybuild-straggler", store=str(store))
        dispatch = Dispatch(client, orders(here, [*here.recipes], {}), terms, patience)
        said = list[str]()
        stopped = ""
        try:
            wait(lambda: len(client.workers()) == 2)
            for line in dispatch.run():
                said.append(line)
                if not stopped:
                    busy = [n for n in range(2) if any(site.folder(n).rglob("recipes/*.yaml"))]
                    if busy:
                        stopped = f"worker-{busy[0]}"
                        site.kill(stopped, signal.SIGSTOP)
        finally:
            client.close()
    assert stopped
    assert any("another worker builds it, too" in line for line in said), said
    assert {name: result.failed for name, result in dispatch.results.items()} == {
        name: {} for name in here.recipes
    }


@pytest.mark.slow
def test_a_build_ends_with_its_worker(tmp_path: Path) -> None:
    root, store = make(tmp_path / "zoo", rows=LIGHT), tmp_path / "store"
    with cluster(tmp_path / "cluster", 1) as site:
        process = begun(root, f"dask:{site.file}", store)
        wait(lambda: any(site.folder(0).rglob("build/rows")))
        (folder,) = {path.parents[2] for path in site.folder(0).rglob("build/rows")}
        site.kill("worker-0")
        wait(lambda: not _inside(folder))
        process.send_signal(signal.SIGINT)
        result = ended(process)
    assert "interrupted" in result.out, result.out


def _inside(folder: Path) -> list[str]:
    """The processes whose current folder is below one."""
    found = list[str]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            at = os.readlink(process / "cwd")
        except OSError:
            continue
        if at.startswith(f"{folder}/"):
            found.append(process.name)
    return found
