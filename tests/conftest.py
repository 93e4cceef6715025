"""Fixtures for the rooms below the engine: a stage is called with a Job, in this process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tinybuild.workers import SETTINGS, Job

os.environ.update(SETTINGS)  # what workers run with; before anybody imports torch

MakeJob = Callable[..., Job]


@pytest.fixture
def job(tmp_path: Path) -> MakeJob:
    """job(settings, fetch=folder, ..., facts={...}): a Job with a fresh `out` below tmp_path."""
    count = 0

    def make(
        settings: Mapping[str, Any],
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        upstream: Mapping[str, Mapping[str, str]] | None = None,
        **inputs: Path,
    ) -> Job:
        nonlocal count
        count += 1
        out = tmp_path / f"out-{count}"
        out.mkdir()
        return Job(
            task="test:x",
            settings=settings,
            inputs=inputs,
            facts=facts or {},
            root=tmp_path,
            out=out,
            seed=seed,
            upstream=upstream or {},
        )

    return make


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody may look up a name or connect: what is tried is reported at the end."""
    tried: list[str] = []

    def refuse(*address: object, **options: object) -> None:
        tried.append(repr(address[:2]))
        raise OSError("the test forbids it")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert tried == []


@pytest.fixture
def upstreams() -> Path:
    """The folder of real tokenizers beside the repository; the test is skipped where it is not."""
    folder = Path(__file__).parents[2] / "shared" / "upstreams"
    if not folder.is_dir():
        pytest.skip("there are no real upstream files: shared/upstreams is not beside the project")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """{posix path: bytes} of the files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file with what `change` makes of it (or does to it, returning None)."""
    data = json.loads(path.read_text())
    made = change(data)
    path.write_text(json.dumps(data if made is None else made))
