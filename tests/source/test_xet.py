"""A Hub that keeps large files in Xet: hf_xet fetches and puts them, and what it cannot is said."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import faults, xet
from kit.hub import Hub, Trouble, connected
from kit.stage import MakeJob
from publish.test_publish import FILES, REPO, on_disk, published, target

from tinybuild import publish, source
from tinybuild.errors import SourceFault
from tinybuild.publish import asking

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
VOCABULARY = random.Random(0).randbytes(150_000)  # of three chunks


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants
    from huggingface_hub.utils import _xet

    with connected(tmp_path, monkeypatch, TOKEN) as server:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
        monkeypatch.setattr(_xet, "XET_CONNECTION_INFO_CACHE", {})
        monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
        monkeypatch.setenv("HF_XET_XORB_COMPRESSION_POLICY", "none")
        monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "10ms")
        monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
        server.xet = True
        repo = server.repo("org/model")
        repo.commit({"config.json": b"{}", "tokenizer.model": VOCABULARY})
        repo.large = {"tokenizer.model"}
        yield server


def fetch(job: MakeJob) -> Path:
    made = job({"wishes": {"source": {"hub": "org/model"}}, "base": "recipes", "locks": {}})
    source.fetch(made)
    return made.out / "source" / "tokenizer.model"


def test_a_file_comes_in_chunks(job: MakeJob, hub: Hub, tmp_path: Path) -> None:
    assert fetch(job).read_bytes() == VOCABULARY
    assert hub.asked("/cas/v1/reconstructions/")
    assert not hub.asked("/elsewhere/")
    assert not hub.leaked  # the store gets a token of its own
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize("where", ["/cas/v1/reconstructions", "/cas/xorb/", "xet-read-token"])
@pytest.mark.parametrize("status", [404, 403, 500])
def test_where_the_store_does_not_answer(job: MakeJob, hub: Hub, where: str, status: int) -> None:
    """The file comes as it does without hf_xet: firewalls do not know the store."""
    hub.troubles.append(Trouble(where=where, status=status, times=99))
    assert fetch(job).read_bytes() == VOCABULARY
    assert hub.asked("/elsewhere/")
    assert not hub.leaked


def test_a_store_that_is_not_there(job: MakeJob, hub: Hub) -> None:
    hub.troubles.append(Trouble(where="/cas/", reset=0, times=99))
    assert fetch(job).read_bytes() == VOCABULARY


def test_a_store_that_sends_something_else(job: MakeJob, hub: Hub) -> None:
    hub.troubles.append(Trouble(where="/cas/xorb/", body=xet.xorb(VOCABULARY[::-1]), times=99))
    refusal = faults.refused(fetch, job)
    assert "tokenizer.model of org/model is not the file that the Hub lists" in refusal.what


def test_a_bundle_is_put_in_chunks(hub: Hub, tmp_path: Path) -> None:
    files = {**FILES, "model.safetensors": VOCABULARY.hex()}
    assert publish.publish(target(tmp_path, files)).state == "created"
    assert published(hub) == on_disk(tmp_path)
    assert hub.xorbs
    assert not hub.asked("PUT")
    assert publish.publish(target(tmp_path, files)).state == "same"
    assert not hub.leaked


@pytest.mark.parametrize("where", ["xorbs", "shards", "xet-write-token"])
@pytest.mark.parametrize("status", [403, 500])
def test_where_the_store_takes_nothing(hub: Hub, tmp_path: Path, where: str, status: int) -> None:
    """The bundle is put as it is without hf_xet."""
    hub.troubles.append(Trouble(where=where, status=status, times=99))
    assert publish.publish(target(tmp_path)).state == "created"
    assert published(hub) == on_disk(tmp_path)
    assert hub.asked("PUT")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_publish_cut_at_any_request_is_repeated(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Also of those to the store."""
    monkeypatch.setattr(asking, "TRIES", 1)
    for number in range(30):
        hub.repos.clear()
        hub.stored.clear()
        hub.xorbs.clear()
        hub.stop = (number, when)
        made = target(tmp_path)
        said = ""
        try:
            publish.publish(made)
        except SourceFault as fault:
            said = str(fault)
        assert TOKEN not in said
        cut, hub.dead, hub.stop = hub.dead, False, None
        publish.publish(made)
        assert published(hub) == on_disk(tmp_path)
        assert len(hub.repos[REPO].messages) == 1
        if not cut:
            assert number > 6
            return
    raise AssertionError("it never ends")
