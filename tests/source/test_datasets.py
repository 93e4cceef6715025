"""Datasets of a Hub: only the bytes that hold the rows asked for are read, and never more."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from hypothesis import given
from hypothesis import strategies as st
from kit import faults
from kit.files import contents
from kit.hub import Hub, Repo, connected
from kit.stage import MakeJob

from tinybuild import source
from tinybuild.dataset.parts import numbers, spelled
from tinybuild.errors import RecipeFault
from tinybuild.recipe import lock
from tinybuild.source import Pin

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
FEATURES = Features(
    {"id": Value("int32"), "text": Value("string"), "label": ClassLabel(names=["neg", "pos"])}
    | {"tags": Sequence(Value("string"))}
)
GROUP = 50  # rows of a row group


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        yield server


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.dataset("owner/rows")


def rows(start: int, stop: int) -> list[dict[str, Any]]:
    return [
        {"id": i, "text": f"row {i} " + "x" * (i % 7), "label": i % 2, "tags": ["a", f"{i}"]}
        for i in range(start, stop)
    ]


def forget() -> None:
    """As on another machine, which has read nothing yet."""
    from huggingface_hub import constants

    shutil.rmtree(constants.HF_HOME, ignore_errors=True)


def parquet(start: int, stop: int) -> bytes:
    """Rows with these ids, 50 to a row group, as the datasets library writes them."""
    file = io.BytesIO()
    Dataset.from_list(rows(start, stop), features=FEATURES).to_parquet(file, batch_size=GROUP)
    return file.getvalue()


def shards(count: int, each: int = 200, split: str = "train") -> dict[str, bytes]:
    return {
        f"data/{split}-{i:05}-of-{count:05}.parquet": parquet(i * each, (i + 1) * each)
        for i in range(count)
    }


def fetch(
    job: MakeJob, pin: Mapping[str, Any] | None = None, seed: int = 0, **section: Any
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The folder of what was fetched, its layout, and the facts."""
    given = {"hub": "owner/rows", "max_read": 10**9} | section.pop("source", {})
    settings = {
        "wishes": {"dataset": given},
        "rows": {"source": given, **section},
        "base": "recipes",
        "locks": {"dataset": pin} if pin else {},
    }
    made = job(settings, seed=seed)
    facts = source.fetch(made)
    folder = made.out / "dataset"
    assert [path.name for path in made.out.iterdir()] == ["dataset"]
    return folder, json.loads((folder / "layout.json").read_text()), facts


def refused(job: MakeJob, **section: Any) -> str:
    refusal = faults.refused(fetch, job, **section)
    assert all(finding.key[0] == "dataset" for finding in refusal.findings)
    assert TOKEN not in refusal.text
    assert str(Path.cwd().anchor + "tmp") not in refusal.text
    return refusal.text


def local(
    folder: Path, layout: Mapping[str, Any], config: str = "default", split: str = "train"
) -> Any:
    names = layout["configs"][config]["splits"][split]
    return pyarrow.concat_tables([pyarrow.parquet.read_table(folder / name) for name in names])


def chosen(folder: Path, layout: Mapping[str, Any], part: str = "default/") -> list[int]:
    """The ids of the rows that the layout says were chosen for a part."""
    table = local(folder, layout).column("id").to_pylist()
    return [table[number] for number in numbers(layout["rows"][part])]


def sizes(data: bytes) -> tuple[int, list[int]]:
    """The bytes of a Parquet file's footer with its length and magic, and of its row groups."""
    meta = pyarrow.parquet.read_metadata(io.BytesIO(data))
    groups = [
        sum(meta.row_group(g).column(c).total_compressed_size for c in range(meta.num_columns))
        for g in range(meta.num_row_groups)
    ]
    return meta.serialized_size + 8, groups


# --- Parquet: the first rows ----------------------------------------------------------------------


def test_first_rows_cost_their_row_groups_and_one_footer(
    job: MakeJob, hub: Hub, repo: Repo
) -> None:
    files = shards(3)
    sha = repo.commit(files)
    folder, layout, facts = fetch(job, samples=60)
    first, *others = files
    footer, groups = sizes(files[first])
    assert hub.sent == {first: footer + groups[0] + groups[1]}
    assert facts["read"] == {
        "bytes": hub.sent[first],
        "limit": 10**9,
        "parts": [{"config": "default", "split": "train", "rows": 100}],
    }
    assert not any(hub.asked(name) for name in others)
    table = local(folder, layout)
    assert table.to_pylist() == rows(0, 100)
    assert Features.from_arrow_schema(table.schema) == FEATURES
    assert layout["rows"] == {}
    pin = facts["pins"]["dataset"]
    assert pin["commit"] == sha
    assert pin["files"][first]["size"] == hub.sent[first]
    assert pin["files"][first]["whole"]["size"] == len(files[first])


def test_rows_by_number_are_told_where_they_lie_now(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(3)
    repo.commit(files)
    folder, layout, _ = fetch(job, rows="52,250-252,199")
    footer, groups = sizes(files["data/train-00000-of-00003.parquet"])
    assert hub.sent["data/train-00000-of-00003.parquet"] == footer + groups[1] + groups[3]
    assert "data/train-00002-of-00003.parquet" not in hub.sent
    assert chosen(folder, layout) == [51, 198, 249, 250, 251]


def test_a_row_that_is_not_there(job: MakeJob, repo: Repo) -> None:
    repo.commit(shards(2))
    text = refused(job, rows="1,401")
    assert text.startswith("there is no row 401: the source's split has 400 rows")


def test_all_of_a_split_with_fewer_rows_than_asked(job: MakeJob, repo: Repo) -> None:
    repo.commit(shards(2))
    folder, layout, facts = fetch(job, samples=1000)
    assert local(folder, layout).to_pylist() == rows(0, 400)
    assert facts["read"]["parts"] == [
        {"config": "default", "split": "train", "rows": 400, "of": 400}
    ]


# --- Parquet: spread, random, where ---------------------------------------------------------------


def test_spread_covers_the_shards(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(4)
    repo.commit(files)
    folder, layout, _ = fetch(job, samples=8, select="spread")
    taken = chosen(folder, layout)
    assert taken == [50, 150, 250, 350, 450, 550, 650, 750]
    for name, data in files.items():
        footer, groups = sizes(data)
        assert hub.sent[name] == footer + groups[1] + groups[3]


def test_spread_over_more_shards_than_rows_looks_only_at_some(
    job: MakeJob, hub: Hub, repo: Repo
) -> None:
    repo.commit(shards(6))
    folder, layout, _ = fetch(job, samples=2, select="spread")
    assert chosen(folder, layout) == [300, 900]
    assert {name[11:16] for name in hub.sent} == {"00001", "00004"}


def test_random_reads_the_row_groups_of_what_was_drawn(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(4)
    repo.commit(files)
    folder, layout, facts = fetch(job, samples=5, select="random", seed=3)
    taken = chosen(folder, layout)
    assert len(set(taken)) == 5
    assert taken == sorted(taken)
    expected = 0
    for i, data in enumerate(files.values()):
        footer, groups = sizes(data)
        touched = {(n - i * 200) // GROUP for n in taken if i * 200 <= n < (i + 1) * 200}
        expected += footer + sum(groups[g] for g in touched)
    assert sum(hub.sent.values()) == expected == facts["read"]["bytes"]
    assert facts["read"]["parts"][0] == {
        "config": "default",
        "split": "train",
        "rows": 800,
        "of": 800,
    }
    again = fetch(job, samples=5, select="random", seed=3)
    assert chosen(*again[:2]) == taken
    assert again[2] == facts
    other = fetch(job, samples=5, select="random", seed=4)
    assert chosen(*other[:2]) != taken


def test_random_within_the_limit_says_how_many_rows_were_looked_at(
    job: MakeJob, hub: Hub, repo: Repo
) -> None:
    files = shards(4)
    repo.commit(files)
    footers = sum(sizes(data)[0] for data in files.values())
    limit = footers + 3 * sizes(next(iter(files.values())))[1][0]
    folder, layout, facts = fetch(job, samples=60, select="random", source={"max_read": limit})
    seen = facts["read"]["parts"][0]
    assert seen["of"] == 800
    assert 60 <= seen["rows"] <= 150
    assert len(chosen(folder, layout)) == 60
    assert sum(hub.sent.values()) == facts["read"]["bytes"] <= limit
    text = refused(job, samples=300, select="random", source={"max_read": limit})
    assert f"within max_read ({limit:,} bytes) there are" in text
    assert "not the 300 asked for" in text


def test_random_is_fair(job: MakeJob, repo: Repo) -> None:
    repo.commit(shards(2, each=100))
    drawn = [
        n
        for seed in range(25)
        for n in chosen(*fetch(job, samples=20, select="random", seed=seed)[:2])
    ]
    assert 0.4 < sum(n < 100 for n in drawn) / len(drawn) < 0.6
    assert len(set(drawn)) > 170


def test_where_reads_until_enough_rows_match(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(3)
    repo.commit(files)
    footer, groups = sizes(files["data/train-00000-of-00003.parquet"])
    for where in ({"label": "pos"}, {"label": 1}, {"label": ["pos"]}):
        hub.sent.clear()
        forget()
        _, layout, facts = fetch(job, samples=30, where=where)
        assert hub.sent == {"data/train-00000-of-00003.parquet": footer + groups[0] + groups[1]}
        assert facts["read"]["parts"][0]["rows"] == 100
        assert layout["rows"] == {}
    hub.sent.clear()
    forget()
    fetch(job, samples=1, where={"id": {"min": 120}, "text": "row 120 x"})
    assert hub.sent == {"data/train-00000-of-00003.parquet": footer + sum(groups[:3])}
    hub.sent.clear()
    text = refused(job, samples=30, where={"label": ["pos", "x"]})
    assert text.startswith('"x" is not one of the labels, which the column label holds')
    assert "the dataset has no column ix" in refused(job, samples=30, where={"ix": 1})
    assert hub.sent == {"data/train-00000-of-00003.parquet": 2 * footer}  # lest it be the cache's


def test_where_ends_at_the_limit(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(3)
    repo.commit(files)
    footer, groups = sizes(files["data/train-00000-of-00003.parquet"])
    limit = footer + groups[0] + groups[1] + 10
    folder, layout, facts = fetch(job, samples=5, where={"id": 599}, source={"max_read": limit})
    assert local(folder, layout).num_rows == facts["read"]["parts"][0]["rows"] == 100
    assert facts["read"]["bytes"] == limit - 10


def test_rows_under_where_count_what_matches(job: MakeJob, repo: Repo) -> None:
    repo.commit(shards(3))
    folder, layout, _ = fetch(job, rows="30", where={"label": "pos"})
    assert local(folder, layout).num_rows == 100
    assert layout["rows"] == {}


# --- the limit ------------------------------------------------------------------------------------


def test_rows_that_cost_more_than_the_limit(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(1)
    repo.commit(files)
    footer, groups = sizes(next(iter(files.values())))
    enough = footer + groups[0] + groups[1]
    fetch(job, samples=100, source={"max_read": enough})
    hub.sent.clear()
    text = refused(job, samples=100, source={"max_read": enough - 1})
    assert f"row groups of {groups[0] + groups[1]:,} bytes" in text
    assert "hint: raise dataset.source.max_read" in text
    assert sum(hub.sent.values()) == footer
    assert "is spent" in refused(job, samples=100, source={"max_read": footer - 1})


# --- configs, splits, and what the card says ------------------------------------------------------

CARD = """---
license: cc-by-4.0
language: [en, de]
pretty_name: Rows
configs:
- config_name: en
  default: true
  data_files:
  - {split: train, path: en/train.parquet}
  - {split: test, path: en/test.parquet}
- config_name: de
  data_files: de/*.parquet
dataset_info:
- config_name: en
  features:
  - {name: id, dtype: int32}
  - {name: text, dtype: string}
  - name: label
    dtype: {class_label: {names: {'0': neg, '1': pos}}}
  - {name: tags, sequence: string}
  splits:
  - {name: train, num_bytes: 1, num_examples: 200}
---

# Rows

```bibtex
@misc{rows, title={Rows}}
```
"""


def many() -> dict[str, bytes]:
    return {
        "README.md": CARD.encode(),
        "en/train.parquet": parquet(0, 200),
        "en/test.parquet": parquet(1000, 1100),
        "de/a.parquet": parquet(2000, 2100),
    }


def test_the_default_config_features_and_about(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = many()
    repo.commit(files)
    _, layout, facts = fetch(job, samples=10)
    assert layout["default"] == "en"
    assert list(layout["configs"]) == ["en"]
    assert Features.from_dict(layout["configs"]["en"]["features"]) == FEATURES
    assert layout["about"] == {
        "license": "cc-by-4.0",
        "language": ["en", "de"],
        "pretty_name": "Rows",
        "citation": "@misc{rows, title={Rows}}",
    }
    footer, groups = sizes(files["en/train.parquet"])
    assert hub.sent == {"README.md": len(CARD), "en/train.parquet": footer + groups[0]}
    assert facts["read"]["parts"][0]["of"] == 200


def test_several_splits_and_configs(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit(many())
    folder, layout, facts = fetch(
        job,
        samples=5,
        splits={"train": None, "valid": {"split": "train", "rows": "151-160"}},
        configs={"en": None, "two": {"config": "de", "splits": {"train": {"samples": 3}}}},
    )
    assert {
        c: {s: len(f) for s, f in d["splits"].items()} for c, d in layout["configs"].items()
    } == {
        "en": {"train": 1},
        "de": {"train": 1},
    }
    assert local(folder, layout, "en").num_rows == 100  # the first row group and the last one
    assert layout["rows"] == {"en/valid": "51-60"}
    assert local(folder, layout, "en").to_pylist()[50]["id"] == 150
    assert "en/test.parquet" not in hub.sent
    assert [(p["config"], p["split"]) for p in facts["read"]["parts"]] == [
        ("en", "train"),
        ("en", "train"),
        ("de", "train"),
    ]


def test_the_sources_split_and_config(job: MakeJob, repo: Repo) -> None:
    repo.commit(many())
    folder, layout, _ = fetch(job, samples=5, source={"config": "en", "split": "test"})
    assert local(folder, layout, "en", "test").to_pylist()[0]["id"] == 1000


def test_names_that_are_not_there(job: MakeJob, repo: Repo) -> None:
    repo.commit(many())
    text = refused(job, samples=5, source={"config": "fr"})
    assert text == "the source has no config fr\n  hint: known: de, en"
    text = refused(job, samples=5, source={"split": "tset"})
    assert text == "the source has no split tset\n  hint: did you mean test?"
    text = refused(job, samples=5, splits={"validation": None})
    assert text == "the source has no split validation\n  hint: known: test, train"
    card = CARD.replace("  default: true\n", "").partition("dataset_info")[0] + "---\n"
    repo.commit({**many(), "README.md": card.encode()})
    text = refused(job, samples=5)
    assert text == "the source has several configs\n  hint: name one: en, de"


def test_the_branch_of_the_hubs_own_parquet(job: MakeJob, repo: Repo) -> None:
    files = {
        "en/train/0000.parquet": parquet(0, 100),
        "en/train/0001.parquet": parquet(100, 200),
        "de/partial-train/0000.parquet": parquet(500, 600),
        "de/test/0000.parquet": parquet(600, 700),
    }
    main = repo.commit({"README.md": CARD.encode(), "rows.py": b"raise SystemExit"})
    repo.commit(files, ref="refs/convert/parquet")
    given = {"revision": "refs/convert/parquet"}
    folder, layout, _ = fetch(job, samples=1, source={**given, "config": "de"})
    assert local(folder, layout, "de").to_pylist()[0]["id"] == 500
    folder, layout, _ = fetch(job, rows=101, source={**given, "config": "en"})
    assert layout["configs"]["en"]["splits"] == {"train": ["en/train/0001.parquet"]}
    # License and citation come from the card of the main branch, whose commit is locked too.
    _, layout, facts = fetch(job, rows=101, source={**given, "config": "en"})
    pin = facts["pins"]["dataset"]
    assert pin["card"] == main
    assert layout["about"]["license"] == "cc-by-4.0"
    assert layout["about"]["citation"] == "@misc{rows, title={Rows}}"
    assert (
        facts["read"]["bytes"]
        == pin["files"]["en/train/0001.parquet"]["size"]
        + len(CARD)
        + sizes(files["en/train/0000.parquet"])[0]
    )
    repo.commit({"README.md": b"# other"})
    again = fetch(job, pin=pin, rows=101, source={**given, "config": "en"})
    assert again[1:] == (layout, facts)


# --- refusals -------------------------------------------------------------------------------------


def test_a_script_is_never_run_nor_asked_for(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit({"README.md": b"# x", "rows.py": b"raise SystemExit", "weights.bin": b"W"})
    text = refused(job, samples=1)
    assert "only a script that makes them (rows.py), and scripts are never run" in text
    assert "hint: the Hub may have its rows as Parquet: revision: refs/convert/parquet" in text
    repo.commit({**shards(1), "rows.py": b"raise SystemExit", "model.safetensors": b"W"})
    fetch(job, samples=1)
    assert not hub.asked(".py")
    assert not hub.asked(".safetensors")
    assert not hub.asked(".bin")


def test_refusals_of_the_hub(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit({"README.md": b"# nothing"})
    hub.dataset("owner/gated").gated = True
    assert "owner/rows holds no file that can be read" in refused(job, samples=1)
    text = refused(job, samples=1, source={"hub": "owner/missing"})
    assert "the Hub has no dataset owner/missing that you may see" in text
    text = refused(job, samples=1, source={"hub": "owner/gated"})
    assert "owner/gated is gated" in text
    text = refused(job, samples=1, source={"revision": "v9"})
    assert "owner/rows has no revision v9" in text
    hub.broken = True
    assert "the Hub cannot be reached for owner/rows" in refused(job, samples=1)


def test_offline(job: MakeJob, hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session, constants

    repo.commit(shards(1))
    close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    text = refused(job, samples=1)
    assert "HF_HUB_OFFLINE is set, and owner/rows is not in the cache of this machine" in text
    assert hub.log == []
    close_session()


@pytest.mark.parametrize(
    "place",
    ["/etc/passwd", "../../x.parquet", "https://evil.example/x.parquet", "hf://datasets/a/b"],
)
def test_a_card_that_points_elsewhere(job: MakeJob, hub: Hub, repo: Repo, place: str) -> None:
    card = f"---\nconfigs:\n- config_name: a\n  data_files: {place}\n---\n"
    repo.commit({"README.md": card.encode(), **shards(1)})
    text = refused(job, samples=1)
    last = place.rpartition("/")[2]
    assert (
        f"the configs in README.md of owner/rows name a file outside of the folder: {last}" in text
    )


def test_a_card_that_cannot_be_read(job: MakeJob, repo: Repo) -> None:
    repo.commit({"README.md": b"---\nconfigs: [\n---\n", **shards(1)})
    assert "README.md of owner/rows: its metadata cannot be read: " in refused(job, samples=1)


def test_kinds_that_are_not_read(job: MakeJob, repo: Repo) -> None:
    repo.commit({"a.mp4": b"x", "b.mp4": b"y"})
    assert "owner/rows holds no file that can be read (.mp4)" in refused(job, samples=1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PAR1", "it has 4 bytes"),
        (b"x" * 100, "it does not end as one"),
        (
            b"PAR1" + b"\x00" * 20 + (9).to_bytes(4, "little") + b"PAR1",
            "is not a whole Parquet file: Could",
        ),
    ],
)
def test_parquet_that_is_none(job: MakeJob, repo: Repo, data: bytes, words: str) -> None:
    repo.commit({"data/train.parquet": data})
    text = refused(job, samples=1)
    assert "data/train.parquet of owner/rows: is not a whole Parquet file: " in text
    assert words in text


def test_a_damaged_row_group(job: MakeJob, repo: Repo) -> None:
    data = bytearray(parquet(0, 200))
    data[20:400] = bytes(380)
    repo.commit({"data/train.parquet": bytes(data)})
    text = refused(job, samples=1)
    place = "data/train.parquet of owner/rows: row group 1 (rows 1-50)"
    assert f"{place} cannot be read: Corrupt" in text


# --- the connection -------------------------------------------------------------------------------


def test_a_broken_connection_goes_on_where_it_broke(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(1)
    repo.commit(files)
    hub.cut = 100
    folder, layout, facts = fetch(job, samples=200)
    assert local(folder, layout).to_pylist() == rows(0, 200)
    assert facts["read"]["bytes"] == sum(hub.sent.values())


def test_a_server_that_ignores_ranges(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit(shards(1))
    hub.deaf = True
    text = refused(job, samples=1)
    assert "came in other bytes than were asked for" in text


def test_the_token_stays_on_the_hub(job: MakeJob, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    repo.commit({"README.md": CARD.encode(), **many()})
    _, _, facts = fetch(job, samples=1)
    assert f"Bearer {TOKEN}" in hub.tokens
    assert hub.leaked == []
    assert TOKEN not in json.dumps(facts)
    assert not any(TOKEN.encode() in data for data in contents(tmp_path).values())


# --- the lock -------------------------------------------------------------------------------------


def test_the_lock_holds_after_main_moved(job: MakeJob, hub: Hub, repo: Repo) -> None:
    first = repo.commit(shards(2))
    folder, layout, facts = fetch(job, samples=60)
    pin = json.loads(json.dumps(facts["pins"]["dataset"]))
    repo.commit({"data/train.parquet": parquet(5000, 5100)})
    again, same, locked = fetch(job, pin=pin, samples=60)
    assert locked == facts
    assert same == layout
    assert contents(again) == contents(folder)
    assert pin["commit"] == first
    _, _, more = fetch(job, pin=pin, samples=300)  # other rows of the same commit
    assert more["pins"]["dataset"]["commit"] == first
    assert len(more["pins"]["dataset"]["files"]) == 2


def test_other_bytes_under_a_locked_commit(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = shards(1)
    sha = repo.commit(files)
    (name,) = files
    pin = fetch(job, samples=60)[2]["pins"]["dataset"]
    repo.commits[sha][name] = parquet(1, 201)
    forget()
    text = refused(job, pin=pin, samples=60)
    assert f"{name} of hub owner/rows is not the locked one" in text
    assert "hint: tinybuild update x accepts what is there now" in text
    del repo.commits[sha][name]
    forget()
    assert f"{name} is in the lock but not in hub owner/rows" in refused(job, pin=pin, samples=60)


def test_other_bytes_than_the_listed_ones(
    job: MakeJob, hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub lists the locked file, and other bytes come: the ranges tell."""
    from kit import hub as server

    files = shards(1)
    sha = repo.commit(files)
    (name,) = files
    pin = fetch(job, samples=60)[2]["pins"]["dataset"]
    listed = server._entry(name, files[name])
    monkeypatch.setattr(server, "_entry", lambda path, data: listed)
    other = bytearray(files[name])
    other[60:64] = b"evil"
    repo.commits[sha][name] = bytes(other)
    forget()
    text = refused(job, pin=pin, samples=200, select="spread")
    assert name in text
    forget()
    text = refused(job, pin=pin, samples=60)
    assert name in text


# --- files of lines -------------------------------------------------------------------------------


def jsonl(start: int, stop: int) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows(start, stop))


def zstd(data: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    return bytes(sink.getvalue())


PACKERS = {
    "gz": functools.partial(gzip.compress, compresslevel=1),
    "xz": functools.partial(lzma.compress, preset=0),
    "bz2": bz2.compress,
    "zst": zstd,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_the_head_of_a_packed_file_is_unpacked_as_it_comes(
    job: MakeJob, hub: Hub, repo: Repo, kind: str
) -> None:
    text = b"".join(
        json.dumps({"id": i, "text": hashlib.sha512(b"%d" % i).hexdigest()}).encode() + b"\n"
        for i in range(20_000)
    )
    data = PACKERS[kind](text)
    repo.commit({f"en/c4.{i:05}.jsonl.{kind}": data for i in range(3)})
    folder, layout, facts = fetch(job, samples=100)
    assert layout["configs"]["default"]["module"] == "json"
    assert layout["configs"]["default"]["splits"] == {"train": ["en/c4.00000.jsonl"]}
    found = (folder / "en/c4.00000.jsonl").read_bytes()
    assert text.startswith(found)
    assert found.count(b"\n") == 100
    assert set(hub.sent) == {f"en/c4.00000.jsonl.{kind}"}
    # A block of bzip2 is 900 kB of text, of zstd 128 kB; xz and gzip give what there is.
    assert facts["read"]["bytes"] <= (1 << 20 if kind == "bz2" else 1 << 18) < len(data)


def test_rows_of_lines_over_several_files(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit({f"train-{i}.jsonl": jsonl(i * 10, i * 10 + 10) for i in range(3)})
    folder, layout, _ = fetch(job, rows="12,3")
    assert layout["rows"] == {}
    files = layout["configs"]["default"]["splits"]["train"]
    assert files == ["train-0.jsonl", "train-1.jsonl"]
    text = b"".join((folder / name).read_bytes() for name in files)
    assert text == jsonl(0, 12)
    assert "train-2.jsonl" not in hub.sent


def test_csv_with_newlines_in_quotes(job: MakeJob, repo: Repo) -> None:
    lines = [f'{i},"a ""quoted"" text\nof two lines, {i}"\n' for i in range(20_000)]
    text = "id,text\n" + "".join(lines)
    repo.commit({"train.csv": text.encode()})
    folder, _, facts = fetch(job, samples=5)
    assert (folder / "train.csv").read_text() == "id,text\n" + "".join(lines[:5])
    assert facts["read"]["bytes"] == 65536 < len(text)


def test_options_of_the_reader_are_kept(job: MakeJob, repo: Repo) -> None:
    card = "---\nconfigs:\n- config_name: a\n  data_files: x.csv\n  sep: ';'\n---\n"
    repo.commit({"README.md": card.encode(), "x.csv": b"a;b\n1;2\n3;4\n"})
    folder, layout, _ = fetch(job, samples=1)
    assert layout["configs"]["a"]["options"]["sep"] == ";"
    assert (folder / "x.csv").read_bytes() == b"a;b\n1;2\n"


@pytest.mark.parametrize(
    ("by", "kept"), [("line", "a\n"), ("paragraph", "a\nb\n\n"), ("document", "a\nb\n\nc\n\nd\n")]
)
def test_text(job: MakeJob, repo: Repo, by: str, kept: str) -> None:
    repo.commit({"a.txt": b"a\nb\n\nc\n\nd\n"})
    folder, _, _ = fetch(job, samples=1, source={"sample_by": by})
    assert (folder / "a.txt").read_text() == kept


def test_json_that_is_no_lines_comes_whole(job: MakeJob, repo: Repo) -> None:
    text = json.dumps(rows(0, 100), indent=1).encode()
    repo.commit({"a.json": text})
    folder, _, _ = fetch(job, samples=1)
    assert (folder / "a.json").read_bytes() == text


def test_random_lines_come_from_whole_files_the_smallest_first(
    job: MakeJob, hub: Hub, repo: Repo
) -> None:
    files = {
        f"train-{i}.jsonl.gz": gzip.compress(jsonl(0, n), mtime=0)
        for i, n in enumerate([300, 100, 200])
    }
    repo.commit(files)
    size = {name: len(data) for name, data in files.items()}
    limit = size["train-1.jsonl.gz"] + size["train-2.jsonl.gz"] + 10
    folder, layout, facts = fetch(job, samples=5, select="random", source={"max_read": limit})
    kept = ["train-1.jsonl.gz", "train-2.jsonl.gz"]
    assert layout["configs"]["default"]["splits"] == {"train": kept}
    assert {name: (folder / name).read_bytes() for name in kept} == {n: files[n] for n in kept}
    assert facts["read"] == {
        "bytes": limit - 10,
        "limit": limit,
        "parts": [{"config": "default", "split": "train", "shards": 2, "of_shards": 3}],
    }
    _, layout, _ = fetch(
        job, samples=2, select="spread", source={"max_read": size["train-0.jsonl.gz"]}
    )
    assert layout["configs"]["default"]["splits"] == {"train": ["train-0.jsonl.gz"]}
    text = refused(job, samples=5, select="random", source={"max_read": 10})
    assert f"train-1.jsonl.gz of owner/rows has {size['train-1.jsonl.gz']:,} bytes" in text
    assert "take the first rows" in text


def test_a_whole_file_that_is_not_the_listed_one(
    job: MakeJob, hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kit import hub as server

    name, data = "a.jsonl.gz", gzip.compress(jsonl(0, 10), mtime=0)
    sha = repo.commit({name: data})
    listed = server._entry(name, data)
    monkeypatch.setattr(server, "_entry", lambda path, data: listed)
    repo.commits[sha][name] = data[:-1] + b"x"
    text = refused(job, samples=5, select="random")
    assert "a.jsonl.gz of owner/rows is not the file that the Hub lists" in text


def test_a_damaged_packed_file(job: MakeJob, repo: Repo) -> None:
    repo.commit({"a.jsonl.gz": gzip.compress(jsonl(0, 100))[:200]})
    assert "a.jsonl.gz of owner/rows cannot be unpacked" in refused(job, samples=100)
    repo.commit({"a.jsonl.xz": b"no xz"})
    assert "a.jsonl.xz of owner/rows cannot be unpacked" in refused(job, samples=1)


def test_the_limit_ends_a_stream(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit({"a.jsonl": jsonl(0, 5000)})
    text = refused(job, samples=5000, source={"max_read": 100_000})
    assert "max_read (100,000 bytes) is spent before the rows asked for were read" in text
    assert sum(hub.sent.values()) == 100_000


# --- tars -----------------------------------------------------------------------------------------


def tar(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as made:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def names(path: Path) -> list[str]:
    with tarfile.open(path) as found:
        return found.getnames()


def noise(number: int, size: int) -> bytes:
    return hashlib.shake_256(b"%d" % number).hexdigest(size // 2).encode()


def test_the_head_of_a_tar_of_packed_tars(job: MakeJob, hub: Hub, repo: Repo) -> None:
    """openwebtext: tars of .xz archives of .txt files; the script beside them is never run."""
    inner = {
        f"openwebtext/subset00-{i}_data.xz": tar(
            {f"{i}-{j}.txt": noise(10 * i + j, 3000) for j in range(10)}, "w:xz"
        )
        for i in range(40)
    }
    whole = tar(inner)
    repo.commit(
        {"openwebtext.py": b"raise SystemExit", "subsets/00.tar": whole, "subsets/01.tar": whole}
    )
    folder, layout, facts = fetch(job, samples=25)
    (config,) = layout["configs"].values()
    assert config["module"] == "archive"
    assert config["splits"] == {"train": ["subsets/00.tar"]}
    assert names(folder / "subsets/00.tar") == list(inner)[:3]
    assert facts["read"]["bytes"] < len(whole) / 2
    assert not hub.asked(".py")
    _, layout, _ = fetch(job, samples=25, select="random")
    assert layout["configs"]["default"]["module"] == "archive"


@pytest.mark.parametrize(("suffix", "mode"), [("tar", "w"), ("tar.gz", "w:gz")])
def test_the_head_of_a_webdataset(
    job: MakeJob, hub: Hub, repo: Repo, suffix: str, mode: str
) -> None:
    files = {
        f"{i:04}.{field}": noise(i, 2000) for i in range(500) for field in ("txt", "json", "jpg")
    }
    repo.commit({f"train-0.{suffix}": tar(files, mode), f"train-1.{suffix}": tar(files, mode)})
    folder, layout, facts = fetch(job, samples=7)
    (config,) = layout["configs"].values()
    assert config["module"] == "webdataset"
    assert config["splits"] == {"train": ["train-0.tar"]}
    assert names(folder / "train-0.tar") == list(files)[:21]
    assert facts["read"]["bytes"] <= 1 << 18


def test_a_tar_of_texts(job: MakeJob, repo: Repo) -> None:
    repo.commit({"a.tar": tar({"empty.txt": b"", **{f"{i}.txt": b"text\n" for i in range(9)}})})
    folder, layout, _ = fetch(job, samples=2)
    assert layout["configs"]["default"]["module"] == "archive"
    assert names(folder / "a.tar") == ["empty.txt", "0.txt", "1.txt"]


def test_a_damaged_tar(job: MakeJob, repo: Repo) -> None:
    whole = tar({f"{i}.txt": b"text\n" * 1000 for i in range(9)})
    repo.commit({"a.tar": whole[:10_000]})
    assert "a.tar of owner/rows!1.txt cannot be unpacked" in refused(job, samples=5)


def test_zips_come_whole(job: MakeJob, repo: Repo) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.txt", "text\n")
    repo.commit({"a.zip": file.getvalue()})
    folder, layout, _ = fetch(job, samples=1)
    assert layout["configs"]["default"] == {
        "module": "archive",
        "options": {},
        "features": None,
        "splits": {"train": ["a.zip"]},
    }
    assert (folder / "a.zip").read_bytes() == file.getvalue()


def test_folders_of_images_come_whole_or_not_at_all(job: MakeJob, hub: Hub, repo: Repo) -> None:
    files = {f"train/{label}/{i}.png": noise(i, 100) for label in ("cat", "dog") for i in range(3)}
    repo.commit(files)
    folder, layout, _ = fetch(job, samples=1)
    assert layout["configs"]["default"]["module"] == "imagefolder"
    assert {n: d for n, d in contents(folder).items() if n != "layout.json"} == files
    text = refused(job, samples=1, source={"max_read": 599})
    assert "6 files of owner/rows are needed, 600 bytes; max_read leaves 599 of 599" in text


# --- parts and numbers ----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60), min_size=1))
def test_numbers_there_and_back(found: list[int]) -> None:
    assert list(numbers(spelled(sorted(set(found))))) == sorted(set(found))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_two_configs_of_the_same_files(
    job: MakeJob, hub: Hub, repo: Repo, tmp_path: Path, suffix: str
) -> None:
    """Each has its own rows of a file that both name."""
    card = f"""---
configs:
- {{config_name: all, data_files: "*.{suffix}"}}
- {{config_name: a, data_files: a.{suffix}}}
---
"""
    made = parquet if suffix == "parquet" else jsonl
    repo.commit(
        {"README.md": card.encode(), f"a.{suffix}": made(0, 200), f"b.{suffix}": made(200, 300)}
    )
    folder, layout, facts = fetch(
        job, configs={"all": {"samples": 260}, "a": {"samples": 10}}, samples=1
    )
    splits = {name: config["splits"]["train"] for name, config in layout["configs"].items()}
    assert splits == {
        "all": [f"a.{suffix}", f"b.{suffix}"],
        "a": [f"again-1/a.{suffix}"],
    }
    if suffix == "parquet":
        assert local(folder, layout, "all").to_pylist() == rows(0, 300)
        assert local(folder, layout, "a").to_pylist() == rows(0, 50)
    else:
        assert (folder / "again-1/a.jsonl").read_bytes() == jsonl(0, 10)
        assert (folder / "a.jsonl").read_bytes() == jsonl(0, 200)
    assert facts["read"]["bytes"] > sum(hub.sent.values())  # what both need came once


def test_a_file_named_as_ours(job: MakeJob, repo: Repo) -> None:
    repo.commit({"layout.json": jsonl(0, 10)})
    folder, layout, _ = fetch(job, samples=2)
    (name,) = layout["configs"]["default"]["splits"]["train"]
    assert (folder / name).read_bytes() == jsonl(0, 2)


def test_heads_that_turn_out_to_be_none_come_whole(job: MakeJob, repo: Repo) -> None:
    files = {"a.json": jsonl(0, 5), "b.json": json.dumps(rows(5, 9), indent=1).encode()}
    repo.commit(files)
    folder, _, _ = fetch(job, samples=6)
    assert {n: (folder / n).read_bytes() for n in files} == files


def test_files_that_are_gated_while_the_list_is_not(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit(shards(1))
    hub.closed = ("GatedRepo", 403)
    assert "owner/rows is gated" in refused(job, samples=1)
    hub.closed = ("", 500)
    assert "the Hub cannot be reached for owner/rows" in refused(job, samples=1)
    assert len(hub.asked(".parquet")) == 1 + 6  # huggingface_hub tries so often
    hub.closed = ("EntryNotFound", 404)
    text = refused(job, samples=1)
    assert "owner/rows has no file data/train-00000-of-00001.parquet at main" in text
    assert "lock" not in text


def test_a_lock_holds_for_other_parts_of_the_same_upstream() -> None:
    wish = {"hub": "owner/rows", "max_read": "1GB", "config": "en"}
    pins = {"dataset": Pin(wish=wish, facts={"commit": "c"}, files={})}
    more = {**wish, "max_read": "2GB", "split": "test", "config": "de"}
    assert lock.holding(pins, {"dataset": more}) == pins
    assert lock.holding(pins, {"dataset": {**wish, "revision": "v1"}}) == {}
    assert lock.holding(pins, {}) == {}


@pytest.mark.parametrize("edit", [{"ranges": ["x"]}, {"whole": "x"}, {"size": -1}])
def test_a_lock_that_somebody_wrote(
    job: MakeJob, repo: Repo, tmp_path: Path, edit: dict[str, Any]
) -> None:
    repo.commit(shards(1))
    pin = fetch(job, samples=60)[2]["pins"]["dataset"]
    path = lock.place(tmp_path / "x.yaml")
    path.write_text(json.dumps({"version": 1, "pins": {"dataset": pin}}))
    assert source.Pin.read(pin) == lock.read(tmp_path / "x.yaml")["dataset"]
    assert source.Pin.read(pin).json() == pin
    (entry,) = pin["files"].values()
    entry.update(edit)
    path.write_text(json.dumps({"version": 1, "pins": {"dataset": pin}}))
    with pytest.raises(RecipeFault, match=r"pins\.dataset\.files\..*must be"):
        lock.read(tmp_path / "x.yaml")


# --- from the recipe to the bundle ----------------------------------------------------------------


def test_a_recipe_of_a_hub_dataset_is_built(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """doit: fetch, dataset, validate, pack; load_dataset reads what came out, with its licence."""
    import datasets

    repo.commit({"README.md": CARD.encode(), **many()})
    root = tmp_path / "zoo"
    (root / "recipes").mkdir(parents=True)
    (root / "dodo.py").write_text("from tinybuild.tasks import *\n")
    (root / "recipes" / "x.yaml").write_text(
        """version: 1
summary: rows of a Hub
dataset:
  source: {hub: owner/rows}
  splits:
    train: {samples: 5, select: random}
    first: {split: train, samples: 3}
    late: {split: train, rows: "151,200"}
    test: {samples: 4, where: {label: pos}}
"""
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
    }

    def doit(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "doit", *(words or ("x",))]
        return subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )

    done = doit()
    assert done.returncode == 0, done.stdout + done.stderr
    made = datasets.load_dataset(
        "parquet",
        data_files={
            path.name.partition("-")[0]: str(path)
            for path in (root / "dist/x/dataset/data").glob("*.parquet")
        },
        cache_dir=str(tmp_path / "cache-of-datasets"),
    )
    assert made["first"]["id"][:] == [0, 1, 2]
    assert made["late"]["id"][:] == [150, 199]
    assert made["test"]["id"][:] == [1001, 1003, 1005, 1007]
    assert len(set(made["train"]["id"][:])) == 5
    assert made["train"].features == FEATURES
    card = (root / "dist/x/dataset/README.md").read_text()
    assert "cc-by-4.0" in card
    assert "@misc{rows" in card
    lock = json.loads((root / "recipes/x.lock.json").read_text())
    rules = json.loads((Path(__file__).parents[2] / "schemas/lock.v1.schema.json").read_text())
    jsonschema.validate(lock, rules)
    hub.log.clear()
    assert "up to date" in doit().stdout
    assert hub.log == []
    assert not any(TOKEN.encode() in data for data in contents(root).values())

    # Rows of the source, which are not among those that the recipe took.
    done = doit("unpack", "x", "--rows", "101,160-161", "--to", "recipes/records/x")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrote 3 rows to recipes/records/x" in done.stdout
    found = sorted((root / "recipes/records/x").glob("*/text.txt"))
    assert [path.read_text().split()[1] for path in found] == ["100", "159", "160"]
    assert sorted(path.name for path in (root / "recipes/records").iterdir()) == ["x"]
    done = doit("unpack", "x", "--split", "test", "--to", "y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "y/10/text.txt").read_text().startswith("row 1009 ")
    assert TOKEN not in done.stdout
