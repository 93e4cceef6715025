"""Every tokenizer that a test of this room makes is held to the table of its module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kit import tables

from tinybuild import wire
from tinybuild.facts import TokenizerFacts
from tinybuild.tokenizer import stage
from tinybuild.workers import Job


@pytest.fixture(autouse=True)
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made, make = list[Mapping[str, Any]](), stage.make

    def making(job: Job) -> TokenizerFacts:
        facts = make(job)
        made.append({**wire.dump(facts), "files": tables.digests(job.out)})
        return facts

    monkeypatch.setattr(stage, "make", making)
    yield
    name = request.node.name
    rows = {f"{name} {number}": tables.row(data) for number, data in enumerate(made, 1)}
    tables.held(str(request.path), rows if tables.always(request) else {}, all_=False)
