"""Datasets of a Hub: only the bytes that hold the rows asked for are read, and never more."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from conftest import MakeJob
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from hub_server import Hub, Repo, connected

from tinybuild import source
from tinybuild.errors import SourceFault

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
    job: MakeJob, lock: Mapping[str, Any] | None = None, seed: int = 0, **section: Any
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The folder of what was fetched, its layout, and the facts."""
    given = {"hub": "owner/rows", "max_read": "1GB"} | section.pop("source", {})
    settings = {
        "wishes": {"dataset": given},
        "rows": {"source": given, **section},
        "base": "recipes",
        "locks": {"dataset": lock} if lock else {},
    }
    made = job(settings, seed=seed)
    facts = source.fetch(made)
    folder = made.out / "dataset"
    assert [path.name for path in made.out.iterdir()] == ["dataset"]
    return folder, json.loads((folder / "layout.json").read_text()), facts


def refused(job: MakeJob, **section: Any) -> str:
    with pytest.raises(SourceFault) as caught:
        fetch(job, **section)
    assert all(finding.key[0] == "dataset" for finding in caught.value.findings)
    assert TOKEN not in str(caught.value)
    assert str(Path.cwd().anchor + "tmp") not in str(caught.value)
    return str(caught.value)


def local(
    folder: Path, layout: Mapping[str, Any], config: str = "default", split: str = "train"
) -> Any:
    names = layout["configs"][config]["splits"][split]
    return pyarrow.concat_tables([pyarrow.parquet.read_table(folder / name) for name in names])


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
    table = local(folder, layout).to_pylist()
    taken = [table[i] for i in source.parts.numbers(layout["rows"]["/"])]
    assert [row["id"] for row in taken] == [51, 198, 249, 250, 251]
