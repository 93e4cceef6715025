"""What was read of the Hub is read once on a machine: by all recipes, and after build/ is gone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.files import contents
from kit.hub import Hub, Repo, Trouble, connected
from kit.stage import MakeJob

from tinybuild import source
from tinybuild.source.ranges import Ranges

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
ODD = b'[{"type": "file", "path": true, "oid": "a", "size": 1}]'
LINES = b"".join(b'{"text": "line %d %s"}\n' % (n, b"x" * (n % 90)) for n in range(4000))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        yield server


@pytest.fixture
def repo(hub: Hub) -> Repo:
    repo = hub.dataset("owner/rows")
    repo.commit({"README.md": b"---\nlicense: mit\n---\n", "train.jsonl": LINES})
    return repo


def fetch(
    job: MakeJob, lock: Mapping[str, Any] | None = None, **section: Any
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What was fetched, and the facts."""
    wish = {"hub": "owner/rows", "max_read": section.pop("max_read", 10**9)}
    wish |= section.pop("source", {})
    made = job(
        {
            "wishes": {"dataset": wish},
            "rows": {"source": wish, **section},
            "base": "recipes",
            "locks": {"dataset": lock} if lock else {},
        }
    )
    facts = source.fetch(made)
    return contents(made.out / "dataset"), json.loads(json.dumps(facts))


def test_ten_recipes_read_each_byte_once(job: MakeJob, hub: Hub, repo: Repo) -> None:
    first = fetch(job, samples=500)
    asked = hub.asked("/resolve/")
    hub.log.clear()
    for _ in range(9):
        assert fetch(job, samples=500) == first
    assert hub.log == ["GET /api/datasets/owner/rows/revision/main"] * 9  # where main is now
    facts = fetch(job, samples=3500)[1]  # goes on where the others ended
    assert facts["read"]["bytes"] > first[1]["read"]["bytes"]
    places = [place for place in hub.ranges if place[0] == "train.jsonl"]
    assert [start for _, start, _ in places[1:]] == [stop for _, _, stop in places[:-1]]
    assert asked


def test_offline_after_everything_is_gone(
    job: MakeJob, hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import close_session, constants

    first = fetch(job, samples=500)
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert fetch(job, first[1]["pins"]["dataset"], samples=500) == first
    refusal = faults.refused(fetch, job, first[1]["pins"]["dataset"], samples=3500)
    assert (
        "HF_HUB_OFFLINE is set, and train.jsonl of owner/rows is not in the cache" in refusal.what
    )
    close_session()
    assert hub.log == []


def test_the_branch_of_the_hubs_parquet_offline(
    job: MakeJob, hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from datasets import Dataset
    from huggingface_hub import close_session, constants

    file = io.BytesIO()
    Dataset.from_list([{"a": n} for n in range(9)]).to_parquet(file)
    repo.commit({"default/train/0000.parquet": file.getvalue()}, ref="refs/convert/parquet")
    wish = {"revision": "refs/convert/parquet"}
    first = fetch(job, source=wish, samples=5)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert fetch(job, first[1]["pins"]["dataset"], source=wish, samples=5) == first
    close_session()


def test_what_came_before_a_break_is_not_asked_for_again(
    job: MakeJob, hub: Hub, repo: Repo
) -> None:
    hub.troubles += [
        Trouble(where="train.jsonl", reset=30_000),
        Trouble(where="train.jsonl", status=503, times=99),
    ]
    assert "503" in faults.refused(fetch, job, samples=500).what
    hub.troubles.clear()
    hub.ranges.clear()
    fetch(job, samples=500)
    assert min(start for name, start, _ in hub.ranges if name == "train.jsonl") > 20_000


def test_a_damaged_cache_is_read_past(job: MakeJob, hub: Hub, repo: Repo) -> None:
    from huggingface_hub import constants

    first = fetch(job, samples=500)
    for path in Path(constants.HF_HOME).rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff" + path.read_bytes()[1:])
    assert fetch(job, samples=500) == first


def test_bytes_that_were_wrong_when_they_came_do_not_stay(
    job: MakeJob, hub: Hub, repo: Repo
) -> None:
    """A proxy alters a range: nothing can tell, but the reader that stumbles over it."""
    good = fetch(job, samples=5)
    repo.commit({"train.jsonl": LINES + b"\n"})
    hub.troubles.append(Trouble(where="train.jsonl", body=b"\xff" * (1 << 16), times=9))
    assert "train.jsonl" in faults.refused(fetch, job, samples=5).text
    hub.troubles.clear()
    assert fetch(job, samples=5)[0].keys() == good[0].keys()


def test_rows_that_cost_too_much_are_not_read_again(job: MakeJob, hub: Hub, repo: Repo) -> None:
    for _ in range(2):
        refusal = faults.refused(fetch, job, samples=3500, max_read=100_000)
        assert "max_read" in refusal.what
    sent = sum(hub.sent.values())
    assert sent <= 100_000


SMALL = b'{"text": "a"}\n{"text": "b"}\n'


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_reset_at_any_byte(
    job: MakeJob, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int
) -> None:
    from huggingface_hub import constants

    hub.dataset("owner/rows").commit({"train.jsonl": SMALL})
    first = fetch(job, samples=2)
    for at in range(1, 230, step):
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / f"home-{at}"))
        hub.troubles = [Trouble(where="/resolve/", reset=at)]
        assert fetch(job, samples=2) == first
        assert hub.troubles[0].times == 0


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Trouble(where="/resolve/", status=401), ("", "")),
        (Trouble(where="/resolve/", status=403), ("refuses owner/rows to your token", "right")),
        (
            Trouble(where="/resolve/", status=404, headers={"X-Error-Code": "EntryNotFound"}),
            ("has no file train.jsonl at main", "run it again"),
        ),
        (Trouble(where="/resolve/", status=416), ("other bytes than were asked for", "proxy")),
        (Trouble(where="/resolve/", status=429), ("it answers 429", "run it again")),
        (Trouble(where="/resolve/", status=500), ("it answers 500", "run it again")),
        (Trouble(where="/resolve/", status=503), ("it answers 503", "run it again")),
        (Trouble(where="/resolve/", short=5), ("breaks off", "run it again")),
        (Trouble(where="/resolve/", body=b"x" * 9), ("train.jsonl", "")),
        (Trouble(where="/resolve/", status=200, body=b"<html>"), ("other bytes", "proxy")),
        (Trouble(where="/tree/", status=200, body=b"<html>"), ("is not the Hub", "login page")),
        (Trouble(where="/tree/", status=200, body=b"{}"), ("", "")),
        (Trouble(where="/tree/", status=200, body=b"[{}]"), ("is not the Hub", "login page")),
        (Trouble(where="/tree/", status=200, body=ODD), ("is not the Hub", "login page")),
    ],
    ids=lambda given: f"{given.status} {given.where}" if isinstance(given, Trouble) else None,
)
def test_each_bad_answer_is_said(
    job: MakeJob, hub: Hub, repo: Repo, trouble: Trouble, said: tuple[str, str]
) -> None:
    repo.commit({"train.jsonl": SMALL})
    trouble.times = 99
    hub.troubles.append(trouble)
    refusal = faults.refused(fetch, job, samples=2)
    assert all(words in refusal.text for words in said)
    assert "lock" not in refusal.text
    assert TOKEN not in refusal.text
    hub.troubles.clear()
    assert fetch(job, samples=2)[1]["pins"]


def test_an_expired_link_is_asked_for_again(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.large.add("train.jsonl")
    hub.troubles.append(Trouble(where="/elsewhere/", status=403, body=b"<Error>expired</Error>"))
    fetch(job, samples=2)
    assert len(hub.asked("/elsewhere/")) > 1
    assert hub.leaked == []


def test_a_whole_file_that_is_not_the_listed_one(job: MakeJob, hub: Hub, repo: Repo) -> None:
    repo.commit({"train.jsonl": SMALL})
    evil = SMALL.replace(b"b", b"c")
    hub.troubles.append(Trouble(where="/resolve/", body=evil, times=99))
    refusal = faults.refused(fetch, job, samples=2)
    assert "train.jsonl of owner/rows is not the file that the Hub lists" in refusal.what


def test_two_at_once(job: MakeJob, hub: Hub, repo: Repo) -> None:
    made: list[Any] = []
    both = [threading.Thread(target=lambda: made.append(fetch(job, samples=900))) for _ in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert made[0] == made[1]


def test_a_home_that_cannot_be_written(
    job: MakeJob, hub: Hub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    (tmp_path / "file").write_text("")
    first = fetch(job, samples=500)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    assert fetch(job, samples=500) == first


@pytest.mark.parametrize(
    "name",
    [
        *("a.parquet", "a.jsonl", "a.json", "a.csv", "a.txt", "a.jsonl.gz", "a.tar", "a.zip"),
        *("a.arrow", "train/a.png", "train/a.wav", "README.md"),
    ],
)
@pytest.mark.parametrize("place", ["hub", "path"])
def test_a_pointer_where_data_should_be(
    job: MakeJob, hub: Hub, tmp_path: Path, name: str, place: str
) -> None:
    sha, size = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393", 12345
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {size}\n"
    more = {"a.jsonl": b'{"a": 1}\n'} if name == "README.md" else {}
    if place == "hub":
        hub.dataset("owner/rows").commit({name: text.encode(), **more})
        refusal = faults.refused(fetch, job, samples=5)
    else:
        for path, data in {name: text.encode(), **more}.items():
            (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / path).write_bytes(data)
        wish = source.Wish(slot="dataset", kind="path", data={"path": "data"}, base=tmp_path)
        refusal = faults.refused(source.local, wish)
    assert name in refusal.what
    assert "is a pointer of Git LFS, not the file itself" in refusal.what
    assert "git lfs" in refusal.hint


def test_a_hub_that_names_no_commit(job: MakeJob, hub: Hub, repo: Repo) -> None:
    """What it calls a commit is a place in the cache."""
    evil = {"id": "owner/rows", "sha": "../../../../evil", "siblings": []}
    hub.troubles.append(Trouble(where="/api/", status=200, body=json.dumps(evil).encode()))
    assert "is not the Hub" in faults.refused(fetch, job, samples=5).what
    assert len(hub.log) == 1


@pytest.mark.parametrize("name", ["../evil.jsonl", "a\0b.jsonl"])
def test_a_name_that_leads_out_of_a_folder(job: MakeJob, hub: Hub, repo: Repo, name: str) -> None:
    repo.commit({name: LINES})
    refusal = faults.refused(fetch, job, samples=5)
    assert "leads out of a folder" in refusal.what
    assert refusal.hint == "take a revision without it"


def test_ranges_by_themselves(tmp_path: Path) -> None:
    ranges, oid = Ranges(tmp_path), "a" * 64
    with ranges.writing(oid, 10) as file:
        file.write(b"abcdef")
    assert Ranges(tmp_path).found(oid, 12, 14) == b"cd"
    assert Ranges(tmp_path).found(oid, 12, 99) == b"cdef"
    assert Ranges(tmp_path).found(oid, 9, 14) == b""
    assert Ranges(tmp_path).found("b" * 64, 12, 14) == b""
    assert Ranges(tmp_path, fresh=True).found(oid, 12, 14) == b""
    with Ranges(tmp_path, fresh=True).writing(oid, 8) as file:
        file.write(b"123456789")
    assert Ranges(tmp_path).found(oid, 8, 99) == b"123456789"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    with Ranges(tmp_path).writing("../evil", 0) as file:
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["ranges"]
