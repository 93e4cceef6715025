"""A folder and a repository of the Hub with the same files give the same rows and refusals."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
from kit.archives import tar, zipped
from kit.faults import refused
from kit.hub import Hub, connected
from kit.stage import MakeJob
from PIL import Image

from tinybuild import source
from tinybuild.dataset import stage as dataset

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, "hf_token") as server:
        yield server


@pytest.fixture
def remote(job: MakeJob, hub: Hub) -> Build:
    """remote(files, samples=1, ...) -> the facts of a dataset fetched from the Hub."""

    def build(files: Mapping[str, bytes], **section: Any) -> dict[str, Any]:
        hub.dataset("owner/rows").commit(files)
        given = {"hub": "owner/rows", "max_read": 10**9}
        section = {"samples": 1, **section, "source": given}
        fetched = job({"wishes": {"dataset": given}, "rows": section, "base": ".", "locks": {}})
        source.fetch(fetched)
        return dataset.make(job({"dataset": section, "origin": "x"}, fetch=fetched.out))

    return build


@pytest.fixture
def local(job: MakeJob, tmp_path: Path) -> Build:
    """The same of a folder."""

    def build(files: Mapping[str, bytes], **section: Any) -> dict[str, Any]:
        place = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        section = {"samples": 1, **section, "source": {"path": "x", "max_read": 10**9}}
        looked = {"dataset": dict.fromkeys(files, "0" * 64)}
        work = job({"dataset": section, "origin": "x"}, dataset=place, upstream=looked)
        return dataset.make(work)

    return build


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


# --- archives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 5])
def test_a_tar_of_images_and_a_text_about_them(local: Build, remote: Build, samples: int) -> None:
    files = {"a.tar": tar([("labels.txt", b"a\nb\n"), *((f"{i}.png", png()) for i in range(6))])}
    text = refused(local, files, samples=samples).text
    assert text.startswith("a.tar: its first rows cannot be read: The TAR archives of the dataset")
    assert refused(remote, files, samples=samples).text == text


@pytest.mark.parametrize(
    "members",
    [
        [(f"{i}.txt", b"text\n") for i in range(9)],
        [member for i in range(9) for member in ((f"{i}.cls", b"1"), (f"{i}.png", png()))],
        [(f"{i}.jsonl", b'{"a": 1}\n{"a": 2}\n') for i in range(3)],
        [("x.zip", zipped([(f"{i}.txt", b"text\n") for i in range(3)]))],
    ],
)
def test_tars(local: Build, remote: Build, members: list[tuple[str, bytes]]) -> None:
    files = {"a.tar": tar(members)}
    assert rows(remote(files, samples=2)) == rows(local(files, samples=2))


def rows(facts: dict[str, Any]) -> Any:
    return facts["rows"], facts["columns"], facts["configs"]


# --- cards ----------------------------------------------------------------------------------------

CARD = """---
license: other
license_name: tiny-license
license_link: https://example.org/license
language: [en, de]
pretty_name: Rows
---

# Rows

**Homepage:** https://example.org/rows

## Citation

```
Somebody, "Rows", 2024.
```
"""


@pytest.mark.parametrize("card", [CARD, CARD.replace("## Citation\n", ""), "# Rows, and no more\n"])
def test_cards_say_the_same(local: Build, remote: Build, card: str) -> None:
    files = {"README.md": card.encode(), "a.jsonl": b'{"a": 1}\n'}
    about = local(files)["source"]["about"]
    assert remote(files)["source"]["about"] == about
    if card is CARD:
        assert about == {
            "license": "other",
            "license_name": "tiny-license",
            "license_link": "https://example.org/license",
            "language": ["en", "de"],
            "pretty_name": "Rows",
            "homepage": "https://example.org/rows",
            "citation": 'Somebody, "Rows", 2024.',
        }


def test_a_card_whose_aliases_explode(remote: Build) -> None:
    bomb = "a0: &a0 [x]\n"
    for n in range(1, 12):
        bomb += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    card = f"---\n{bomb}configs: [{{data_files: *a11}}]\n---\n"
    files = {"README.md": card.encode(), "a.txt": b"x\n"}
    assert "its metadata grows without end" in refused(remote, files).text


# --- where ----------------------------------------------------------------------------------------

GROUPS, EACH = 28, 100


def grouped(values: Any) -> tuple[bytes, int]:
    """Parquet with 28 row groups of 100 rows; the bytes of its footer and its first row group."""
    table = pyarrow.table(
        {"x": values, "n": numpy.random.default_rng(0).integers(0, 2**60, GROUPS * EACH)}
    )
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file, row_group_size=EACH)
    footer = pyarrow.parquet.read_metadata(io.BytesIO(file.getvalue()))
    group = footer.row_group(0)
    size = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
    return file.getvalue(), footer.serialized_size + 8 + size


DAY = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pyarrow.array(numpy.arange(GROUPS * EACH) / 10, pyarrow.float32()), 0.1),
        (
            pyarrow.array(
                [DAY + datetime.timedelta(hours=i) for i in range(GROUPS * EACH)],
                pyarrow.timestamp("us"),
            ),
            "2026-01-31",
        ),
        (
            pyarrow.array(
                [DAY + datetime.timedelta(hours=i) for i in range(GROUPS * EACH)],
                pyarrow.timestamp("us", tz="UTC"),
            ),
            {"min": "2026-01-31T01:00:00", "max": "2026-01-31T01:30:00"},
        ),
    ],
)
def test_where_reads_what_it_needs(
    hub: Hub, remote: Build, local: Build, values: Any, wanted: Any
) -> None:
    """A float32, or a moment, is compared as the dataset stage compares it."""
    data, needed = grouped(values)
    files = {"a.parquet": data}
    facts = remote(files, where={"x": wanted})
    assert rows(facts) == rows(local(files, where={"x": wanted}))
    assert facts["rows"] == 1
    assert hub.sent == {"a.parquet": needed}
