"""The pages of a zoo, from its recipes and what was built of them."""

from __future__ import annotations

from pathlib import Path

from kit.laid import Bundle
from kit.said import said
from kit.vocabularies import pieces
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


def test_a_source_without_a_tokenizer_json_shows_its_tokens(tmp_path: Path) -> None:
    """And one that nothing reads is told of."""
    root, whole = make(tmp_path / "zoo", good=ROWS, bad=ROWS), pieces("bpe", vocab_size=400)
    for name, model in (("good", whole), ("bad", b"damaged")):
        bundle, source = root / "dist" / name, root / "build" / name / "fetch/source"
        Bundle(checks={}).write(bundle)
        (bundle / "SHA256SUMS").touch()
        (bundle / "tokenizer.json").unlink()
        source.mkdir(parents=True)
        for folder, content in ((bundle, whole), (source, model)):
            (folder / "tokenizer.model").write_bytes(content)
            (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    lines, _ = said(root, "page")
    assert [line.partition(":")[0] for line in lines if line.startswith("no tokens")] == [
        "no tokens of build/bad/fetch/source"
    ]
    page = (root / "dist/good.html").read_text()
    assert page.count("<b>source</b>") == 4
    assert 'class="other"' not in page
