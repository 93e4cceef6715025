"""The Hub on a bad day: what is asked again, what is said, and that no secret is in it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.files import contents
from kit.hub import Hub, Trouble, connected
from kit.stage import MakeJob

from tinybuild import source

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
FILES = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b'{"version": "1.0"}'}
WISH = {"hub": "owner/name"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        server.repo("owner/name").commit(FILES)
        yield server


MOMENT = 0.02  # seconds in which a connection that was closed is seen to be


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited before something was asked again."""
    seconds: list[float] = []
    sleep = time.sleep

    def waited(given: float) -> None:
        seconds.append(given)
        sleep(min(given, MOMENT))

    monkeypatch.setattr(time, "sleep", waited)
    return seconds


def fetch(
    job: MakeJob, wish: Mapping[str, Any] = WISH, lock: Mapping[str, Any] | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The fetched files, and the pin."""
    locks = {"source": lock} if lock else {}
    made = job({"wishes": {"source": wish}, "base": "recipes", "locks": locks})
    pin = source.fetch(made)["pins"]["source"]
    return contents(made.out / "source"), pin


def refused(job: MakeJob, wish: Mapping[str, Any] = WISH, **more: Any) -> faults.Refusal:
    refusal = faults.refused(fetch, job, wish, **more)
    assert TOKEN not in refusal.text
    return refusal


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache of the Hub's files, as on another machine."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another-cache"))


# --- asked again ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("where", ["GET /api/models", "GET /owner/name/resolve"])
def test_what_passes_is_asked_again(
    job: MakeJob, hub: Hub, waits: list[float], status: int, where: str
) -> None:
    hub.troubles.append(Trouble(where=where, status=status, times=3))
    assert fetch(job)[0] == FILES


def test_as_long_as_the_hub_says(job: MakeJob, hub: Hub, waits: list[float]) -> None:
    limit = {"RateLimit": '"api";r=0;t=9', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    hub.troubles += [
        Trouble(where="/api/", status=429, headers=limit),
        Trouble(where="/api/", status=503, headers={"Retry-After": "7"}),
        Trouble(where="/api/", status=500),
    ]
    assert fetch(job)[0] == FILES
    assert waits == [10, 8, 4]


@pytest.mark.parametrize("where", ["GET /api/models", "HEAD /owner", "GET /owner/name/resolve"])
def test_longer_than_anybody_waits(job: MakeJob, hub: Hub, waits: list[float], where: str) -> None:
    hub.troubles.append(Trouble(where=where, status=429, headers={"Retry-After": "1800"}, times=99))
    refusal = refused(job)
    assert "the Hub takes no more requests for 1,800 s" in refusal.what
    assert "run it again after that" in refusal.hint
    assert "the lock" not in refusal.text
    assert len(hub.log) < 8


@pytest.mark.parametrize("step", [31, pytest.param(1, marks=pytest.mark.slow)])
def test_a_reset_at_any_byte(
    job: MakeJob, hub: Hub, waits: list[float], tmp_path: Path, step: int
) -> None:
    """Of what is said of the repository, and of a small file: the same bytes come in the end."""
    from huggingface_hub import constants

    for where, size in (("GET /api/models", 500), ("GET /owner/name/resolve", 300)):
        for at in range(1, size, step):
            constants.HF_HUB_CACHE = str(tmp_path / f"cache-{where[5:8]}-{at}")
            hub.troubles = [Trouble(where=where, reset=at)]
            assert fetch(job)[0] == FILES
            assert hub.troubles[0].times == 0


def test_a_short_body_that_stays_short(job: MakeJob, hub: Hub, waits: list[float]) -> None:
    hub.troubles.append(Trouble(where="GET /owner/name/resolve", short=3, times=99))
    refusal = refused(job)
    assert "the Hub cannot be reached for owner/name (config.json)" in refusal.what
    assert "run it again" in refusal.hint
    assert len(hub.asked("GET /owner")) == 6


# --- other bytes ----------------------------------------------------------------------------------


def test_other_bytes_than_the_listed_ones_are_asked_for_again(
    job: MakeJob, hub: Hub, waits: list[float]
) -> None:
    evil = b"x" * len(FILES["config.json"])
    hub.troubles.append(Trouble(where="GET /owner/name/resolve", body=evil))
    assert fetch(job)[0] == FILES


def test_a_server_that_says_one_sha_and_sends_another(
    job: MakeJob, hub: Hub, waits: list[float], tmp_path: Path
) -> None:
    evil = b"x" * len(FILES["config.json"])
    hub.troubles.append(Trouble(where="/resolve/", body=evil, times=99))
    refusal = refused(job)
    assert "config.json of owner/name is not the file that the Hub lists" in refusal.what
    hub.troubles.clear()
    assert fetch(job)[0] == FILES  # the bad one did not stay in the cache


def test_a_file_in_the_cache_that_somebody_altered_is_fetched_again(
    job: MakeJob, hub: Hub, tmp_path: Path
) -> None:
    _, pin = fetch(job)
    (cached,) = (tmp_path / "cache").rglob("snapshots/*/config.json")
    cached.resolve().write_bytes(b'{"model_type": "evil!"}')
    assert fetch(job, lock=pin) == (FILES, pin)


def test_a_file_in_lfs_is_fetched_without_the_token(job: MakeJob, hub: Hub) -> None:
    hub.repo("owner/name").large.add("tokenizer.json")
    assert fetch(job)[0] == FILES
    assert hub.asked("/elsewhere/")
    assert hub.leaked == []


def test_two_at_once(job: MakeJob, hub: Hub) -> None:
    made: list[Any] = []
    both = [threading.Thread(target=lambda: made.append(fetch(job))) for _ in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert made[0] == made[1]
    assert made[0][0] == FILES


def test_an_expired_link_is_asked_for_again(job: MakeJob, hub: Hub, waits: list[float]) -> None:
    hub.repo("owner/name").large.add("tokenizer.json")
    hub.troubles.append(
        Trouble(where="GET /elsewhere/", status=403, body=b"<Error>expired</Error>")
    )
    assert fetch(job)[0] == FILES
    assert hub.leaked == []


POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""


def test_a_pointer_where_a_file_should_be(job: MakeJob, hub: Hub) -> None:
    hub.repo("owner/name").commit({**FILES, "tokenizer.json": POINTER})
    refusal = refused(job)
    assert "tokenizer.json of owner/name is a pointer of Git LFS" in refusal.what
    assert "owner" in refusal.hint


# --- the cause ------------------------------------------------------------------------------------


def test_an_outage_with_a_lock_keeps_the_lock(
    job: MakeJob,
    hub: Hub,
    waits: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, pin = fetch(job)
    elsewhere(monkeypatch, tmp_path)
    for status in (429, 500, 503):
        hub.troubles = [Trouble(status=status, times=99)]
        refusal = refused(job, lock=pin)
        assert "the Hub cannot be reached for owner/name" in refusal.what
        assert str(status) in refusal.what
        assert "lock" not in refusal.hint
        assert "run it again" in refusal.hint


def test_offline_says_so(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import close_session, constants

    _, pin = fetch(job)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert fetch(job, lock=pin)[1] == pin  # it is in the cache
    elsewhere(monkeypatch, tmp_path)
    for lock in (None, pin):
        refusal = refused(job, lock=lock)
        assert "HF_HUB_OFFLINE is set, and" in refusal.what
        assert "owner/name" in refusal.what
        assert refusal.hint == "unset HF_HUB_OFFLINE, then run it again"
    close_session()


def test_a_token_that_is_not_accepted(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.secret = "hf_another"
    refusal = refused(job)
    assert "the Hub does not accept the token of HF_TOKEN" in refusal.what
    assert "correct HF_TOKEN" in refusal.hint
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text("hf_saved")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    refusal = refused(job)
    assert "the Hub does not accept the saved token" in refusal.what
    assert "hf auth login" in refusal.hint
    assert "hf_saved" not in refusal.text


@pytest.mark.parametrize(
    "said",
    [
        "owner/name no longer has the locked commit {}",  # the history was squashed
        "owner/name has no file tokenizer.json at the locked commit",
    ],
)
def test_what_a_lock_names_vanished(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    repo = hub.repo("owner/name")
    _, pin = fetch(job)
    if "no longer" in said:
        repo.commits.clear()
        repo.commit({"config.json": b"{}"})
    else:
        del repo.commits[pin["commit"]]["tokenizer.json"]
    elsewhere(monkeypatch, tmp_path)
    refusal = refused(job, lock=pin)
    assert said.format(pin["commit"][:12]) in refusal.what
    assert "tinybuild update x" in refusal.hint
    assert "main" not in refusal.text


@pytest.mark.parametrize(
    ("wanted", "near"),
    [("owner/nmae", "owner/name"), ("ownr/name", "owner/name"), ("owner/rows", "a dataset")],
)
def test_a_repository_that_is_not_there(job: MakeJob, hub: Hub, wanted: str, near: str) -> None:
    hub.dataset("owner/rows").commit({})
    refusal = refused(job, {"hub": wanted})
    assert f"the Hub has no model {wanted} that you may see" in refusal.what
    assert near in refusal.hint


def test_a_revision_that_is_not_there(job: MakeJob, hub: Hub) -> None:
    hub.repo("owner/name").commit(FILES, ref="release-1")
    refusal = refused(job, {"hub": "owner/name", "revision": "relaese-1"})
    assert "owner/name has no revision relaese-1" in refusal.what
    assert "did you mean release-1?" in refusal.hint
    assert refusal.key == ("source", "revision")


PORTAL = b"<html><title>Log in to the hotel</title></html>"


@pytest.mark.parametrize("where", ["GET /api/models", "HEAD /owner", "/resolve/"])
def test_a_portal_answers_for_the_hub(
    job: MakeJob, hub: Hub, waits: list[float], where: str
) -> None:
    html = {"Content-Type": "text/html"}
    hub.troubles.append(Trouble(where=where, status=200, headers=html, body=PORTAL, times=99))
    refusal = refused(job)
    assert "not the Hub" in refusal.what
    assert "proxy" in refusal.hint
    assert "html" not in refusal.text


@pytest.mark.parametrize("where", ["GET /api/models", "HEAD /owner", "GET /owner"])
def test_a_redirect_to_another_host_gets_no_token(
    job: MakeJob, hub: Hub, waits: list[float], where: str
) -> None:
    place = hub.url.replace("127.0.0.1", "localhost") + "/elsewhere/login"
    hub.troubles += [
        Trouble(where=where, status=302, headers={"Location": place}, times=99),
        Trouble(where="/elsewhere/", status=200, body=PORTAL, times=99),
    ]
    refusal = refused(job)
    assert hub.tokens
    assert hub.leaked == []
    assert "proxy" in refusal.hint


def test_forbidden(job: MakeJob, hub: Hub, waits: list[float]) -> None:
    hub.troubles.append(Trouble(where="/api/", status=403, times=99))
    refusal = refused(job)
    assert "the Hub refuses owner/name to your token (403)" in refusal.what
    assert "token" in refusal.hint


@pytest.mark.parametrize(
    "said",
    [
        {"cardData": ["mit"]},
        {"siblings": [{"rfilename": "config.json", "size": {"a": 1}, "blobId": "a"}]},
        {"siblings": [{"rfilename": "config.json", "size": 1, "blobId": 0.5}]},
        {"siblings": [{"rfilename": True, "size": 1, "blobId": "a"}]},
    ],
)
def test_an_answer_of_another_shape(job: MakeJob, hub: Hub, said: dict[str, Any]) -> None:
    answer = {"id": "owner/name", "sha": "a" * 40, "siblings": [], **said}
    body = json.dumps(answer).encode()
    hub.troubles.append(Trouble(where="/api/", status=200, body=body, times=99))
    assert "what answers for owner/name is not the Hub" in refused(job).what


def test_an_answer_that_is_not_text(job: MakeJob, hub: Hub) -> None:
    """It is not the token that cannot be sent."""
    hub.troubles.append(Trouble(where="/api/", status=200, body=b'{"id": "\xff"}', times=99))
    assert "what answers for owner/name is not the Hub" in refused(job).what


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
@pytest.mark.parametrize("where", ["/api/", "/resolve/"])
def test_a_redirect_to_what_is_not_the_web(job: MakeJob, hub: Hub, where: str, place: str) -> None:
    away = {"Location": place}
    hub.troubles.append(Trouble(where=where, status=302, headers=away, times=99))
    refusal = refused(job)
    assert "is not the Hub" in refusal.what
    assert "HF_ENDPOINT is not" not in refusal.text


@pytest.mark.parametrize("odd", ["é", "\u2028"])
def test_a_token_that_cannot_be_sent(
    job: MakeJob, hub: Hub, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """The client's own message has it."""
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}{odd}{TOKEN}")
    refusal = refused(job)
    assert "the token holds characters that no token of the Hub has" in refusal.what
    assert "HF_TOKEN" in refusal.hint
    assert TOKEN not in refusal.text


@pytest.mark.parametrize("endpoint", ["huggingface.co", "htp://huggingface.co", "http://[::1"])
def test_an_endpoint_that_is_no_address(
    job: MakeJob, hub: Hub, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    refusal = refused(job)
    assert "HF_ENDPOINT" in refusal.text
    assert "https://" in refusal.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "user:pass-word@nowhere"),
        ("ALL_PROXY", "ftp://user:pass-word@nowhere:1"),
        ("ALL_PROXY", "socks5://user:pass-word@127.0.0.1:9"),
        ("HTTP_PROXY", "http://user:pass-word@127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_proxy_that_cannot_be_used(
    job: MakeJob, hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    from huggingface_hub import close_session

    for other in ("NO_PROXY", "no_proxy", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    close_session()
    refusal = refused(job)
    assert name in refusal.hint
    assert "pass-word" not in refusal.text
    close_session()


# --- secrets --------------------------------------------------------------------------------------


def test_a_password_in_the_endpoint_is_said_nowhere(
    job: MakeJob,
    hub: Hub,
    waits: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    endpoint = hub.url.replace("http://", "http://user:pass-word@")
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    files, pin = fetch(job)
    assert files == FILES
    said = [json.dumps(pin), refused(job, {"hub": "owner/missing"}).text]
    hub.troubles = [Trouble(status=418, times=99)]
    said.append(refused(job).text)
    hub.troubles = [Trouble(where="/api/", status=200, body=b"", times=99)]
    said.append(refused(job).text)
    monkeypatch.setattr(constants, "ENDPOINT", "http://user:pass-word@127.0.0.1:9")
    said.append(refused(job).text)
    assert not any("pass-word" in text for text in said)
    assert not any(b"pass-word" in data for data in contents(tmp_path).values())
