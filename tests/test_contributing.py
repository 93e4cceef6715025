"""CONTRIBUTING shows what the tests add from outside, and names what there is."""

from __future__ import annotations

import re

import pytest
from kit.files import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.+?)```", TEXT, flags=re.DOTALL)


def bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("block", BLOCKS)
def test_each_example_is_added_by_a_test(block: str) -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != __name__]
    assert any(bare(block) in bare(path.read_text(encoding="utf-8")) for path in tests)


def test_files_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:tinybuild|tests|docs|schemas)/[\w./-]+)`", TEXT)
    named += re.findall(r"\]\(([\w./-]+)\)", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
