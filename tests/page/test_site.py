"""The site of a zoo: files that say what the bundles hold, and stay when those do."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
from kit.files import ROOT
from tokenizers import Tokenizer

from tinybuild.files import sha256
from tinybuild.page import site
from tinybuild.page.samples import TEXTS
from tinybuild.page.site import Entry, Site, breakable, make

VOID = {"meta", "link", "input", "img", "br"}


class Strict(HTMLParser):
    """Holds a page to tags that close, and collects addresses of elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.away: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        links = (value for name, value in attrs if name in ("src", "href") and value)
        self.away += [link for link in links if "//" in link and not link.startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Strict:
    parser = Strict()
    parser.feed(text)
    parser.close()
    return parser


def zoo(folder: Path) -> Site:
    """Of bundles whose tokens nothing else than their tokenizer.json tells."""
    return Site(folder=folder / "dist", zoo="zoo", foreign=lambda folder: [])


def test_pages_are_whole_and_need_nothing_from_elsewhere(
    tmp_path: Path, entry: Callable[..., Entry]
) -> None:
    broken = Entry(name="bad", group="", state="broken", summary="", findings=("line 1: <no>",))
    made = zoo(tmp_path)
    make(made, [broken, entry("one")], lambda line: None)
    assert made.wrote == ["one.html", "index.html", "catalog.json", "catalog.csv"]
    for page in ("index.html", "one.html"):
        read = parsed((tmp_path / "dist" / page).read_text())
        assert (read.open, read.away) == ([], [])
    index = (tmp_path / "dist/index.html").read_text()
    assert "line 1: &lt;no&gt;" in index
    assert "for &lt;tests&gt; of one" in index
    one = (tmp_path / "dist/one.html").read_text()
    assert "Model.from_pretrained(&#34;dist/one&#34;)" in one
    assert "<td>12</td><td>2</td><td>rule depth</td>" in one
    assert "<td>forward (text)</td><td>logits, loss 3.5</td>" in one
    assert "&lt;b&gt;one&lt;/b&gt;" in one
    assert '<img src="data:image/png;base64,' in one
    assert "&lt;2&gt; &amp; 3" in one
    assert 'title="brown = 3"' in one  # the source has the word; the bundle has <unk> there


def test_the_catalogue_is_data(tmp_path: Path, entry: Callable[..., Entry]) -> None:
    make(zoo(tmp_path), [entry("one"), entry("other")], lambda line: None)
    data = json.loads((tmp_path / "dist/catalog.json").read_text())
    schema = json.loads((ROOT / "schemas/catalog.v1.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(data)
    assert [row["name"] for row in data["bundles"]] == ["one", "other"]
    with (tmp_path / "dist/catalog.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["licence"] for row in rows] == ["mit", "mit"]
    assert {*rows[0]} == {*data["bundles"][0]}


def test_only_what_changed_is_written_again(tmp_path: Path, entry: Callable[..., Entry]) -> None:
    entries, said = [entry("one"), entry("other")], list[str]()
    make(zoo(tmp_path), entries, said.append)
    assert said == ["wrote one.html", "wrote other.html"]
    before = (tmp_path / "dist/one.html").read_bytes()
    (tmp_path / "dist/other/SHA256SUMS").write_text("changed\n")
    made = zoo(tmp_path)
    make(made, entries, said.append)
    assert made.kept == ["one.html"]
    assert (tmp_path / "dist/one.html").read_bytes() == before
    assert made.wrote[0] == "other.html"


def test_a_bundle_of_files_that_are_not_there(tmp_path: Path, entry: Callable[..., Entry]) -> None:
    """A tokenizer alone, or rows alone, have no drawing, no tokens or no rows."""
    one = entry("one")
    for name in ("model.safetensors", "config_changes.json", "tokenizer.json", "config.json"):
        (tmp_path / "dist/one" / name).unlink()
    make(zoo(tmp_path), [one], lambda line: None)
    page = (tmp_path / "dist/one.html").read_text()
    assert parsed(page).open == []
    assert not {"<h2>Weights</h2>", "<h2>Tokens</h2>", "<h2>Architecture</h2>"} & {
        line.strip() for line in page.splitlines()
    }


def test_a_source_in_another_format_is_cut_by_whoever_reads_it(
    tmp_path: Path, entry: Callable[..., Entry]
) -> None:
    one = entry("one")
    (one.sources[0] / "tokenizer.json").unlink()
    made = Site(
        folder=tmp_path / "dist",
        zoo="zoo",
        foreign=lambda folder: (
            [[("▁whole", 7, (0, len(text)))] for text in TEXTS] if folder in one.sources else []
        ),
    )
    make(made, [one], lambda line: None)
    page = (tmp_path / "dist/one.html").read_text()
    assert f'<b>source</b><span class="other" title="▁whole = 7">{TEXTS[0]}</span>' in page
    assert '<b>10 tokens</b><span class="other" title="The = 1">The</span>' in page


def test_a_tokenizer_that_pads_shows_the_text_alone(
    tmp_path: Path, entry: Callable[..., Entry]
) -> None:
    file = tmp_path / "dist/one/tokenizer.json"
    one = entry("one")
    made = Tokenizer.from_file(str(file))
    made.enable_padding(length=64)
    made.enable_truncation(2)
    made.save(str(file))
    make(zoo(tmp_path), [one], lambda line: None)
    assert "<b>10 tokens</b>" in (tmp_path / "dist/one.html").read_text()


def test_long_names_break_between_their_words() -> None:
    assert breakable("a WhisperForCTC <b>") == "a Whisper<wbr>For<wbr>CTC &lt;b&gt;"


def test_the_code_of_the_pages_is_known() -> None:
    """Each file of it, and nothing that Python leaves beside it."""
    files = subprocess.run(
        ["git", "ls-files", "tinybuild/page"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not files:
        pytest.skip("this is not a checkout of git")
    assert sorted(site.code()) == sorted(sha256(ROOT / file) for file in files)


@pytest.mark.parametrize("word", ["parameters", "bytes", "licence"])
def test_columns_of_numbers_sort_by_number(word: str) -> None:
    assert dict(site.COLUMNS)[word] is (word != "licence")
