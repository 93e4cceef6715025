"""Fixtures for the rooms below the engine: a stage is called with a Job, in this process."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from kit.files import ROOT, SHARED
from kit.stage import MakeJob

from tinybuild.workers import SETTINGS, Job

if sys.dont_write_bytecode:
    # Where nothing may be written beside the sources, each of hundreds of processes would compile
    # torch and transformers anew: 19 seconds of work instead of 8. They share what is written here.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(ROOT / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
os.environ.pop("CI", None)  # else every lock would have to be there
os.environ["TINYBUILD_STORE"] = (
    "off"  # what tests build is made, and the user's store is not theirs
)
os.environ.update(SETTINGS)  # what workers run with; before anybody imports torch
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as behind nohup: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples each time, as many as find something, however long a loaded machine takes.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("tests")


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
    folder = SHARED / "upstreams"
    if not folder.is_dir():
        pytest.skip("there are no real upstream files: shared/upstreams is not beside the project")
    return folder
