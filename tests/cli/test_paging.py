"""The pages of a zoo, from its recipes and what was built of them."""

from __future__ import annotations

from pathlib import Path

from kit.said import said
from kit.zoo import doit, make

ROWS = "version: 1\nsummary: rows\ndataset: {samples: 2, source: {path: ../rows}}\n"


def test_a_recipe_that_failed_is_shown_with_what_was_said(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", good=ROWS, bad=ROWS.replace("rows}", "rows, split: none}"))
    (root / "rows").mkdir()
    (root / "rows/a.jsonl").write_text('{"text": "a"}\n' * 3)
    assert doit(root).code == 1
    lines, _ = said(root, "page")
    assert lines[-1] == "look at dist/index.html"
    (row,) = (
        row for row in (root / "dist/index.html").read_text().split("<tr") if "<td>bad</td>" in row
    )
    assert "failed" in row
    assert "has no split" in row
    assert "hint: " in row
