"""A workflow publishes without a secret: the real client trades identity on the loopback Hub."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.hub import Hub, connected

from tinybuild import network
from tinybuild.errors import SourceFault
from tinybuild.publish.hub import publish
from tinybuild.publish.identity import ISSUER, RESOURCE, trusted
from tinybuild.publish.target import Kind, Target


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, "") as server:
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.delenv(RESOURCE, raising=False)
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{server.url}/id-token")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-run")
        yield server


def target(repo: str, kind: Kind = "model") -> Target:
    return Target(
        name="x",
        kind=kind,
        repo=repo,
        folder="",
        receipt={},
        private=False,
        direct=False,
        redistribute=False,
        sources=(),
        dry=True,
    )


def token(asked: Target) -> str | None:
    from huggingface_hub import get_token

    with trusted(asked):
        given: str | None = get_token()
        return given


def test_each_repository_has_a_token_of_its_own(hub: Hub) -> None:
    from huggingface_hub import get_token

    hub.trusts = {"org/x", "datasets/org/x-rows"}
    assert token(target("org/x")) == "hf_jwt_org/x"
    assert token(target("org/x-rows", "dataset")) == "hf_jwt_datasets/org/x-rows"
    assert get_token() is None


def test_a_workflow_that_is_not_trusted(hub: Hub) -> None:
    with pytest.raises(SourceFault) as caught:
        token(target("org/y"))
    assert "the Hub does not trust this workflow for org/y" in str(caught.value)
    assert "Trusted Publishers" in str(caught.value)
    assert "identity-of-a-run" not in str(caught.value)


def test_a_workflow_does_not_create_a_repository(hub: Hub, tmp_path: Path) -> None:
    """The Hub trusts it for one that is there."""
    hub.trusts = {"org/x"}
    files = {"config.json": "{}", "report.json": '{"checks": [{"name": "a", "state": "passed"}]}'}
    receipt = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    sums = "".join(f"{receipt[name]}  {name}\n" for name in files)
    receipt["SHA256SUMS"] = hashlib.sha256(sums.encode()).hexdigest()
    for name, text in {**files, "SHA256SUMS": sums}.items():
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_text(text)
    made = dataclasses.replace(
        target("org/x"), folder=str(tmp_path / "x"), receipt=receipt, dry=False
    )
    with pytest.raises(SourceFault) as caught:
        publish(made)
    assert "org/x is not on the Hub yet" in str(caught.value)
    assert "hf auth login" in str(caught.value)
    assert "tinybuild publish x" in str(caught.value)
    assert not hub.asked("repos/create")


def test_a_token_that_was_given_is_taken(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_given")
    assert token(target("org/x")) == "hf_given"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.delenv(ISSUER[0])
    assert token(target("org/x")) is None
    assert hub.log == []


def test_no_stage_sees_what_proves_who_we_are() -> None:
    """Only processes that may reach the network have it: a stage reads what others wrote."""
    assert {*ISSUER, RESOURCE, "HF_OIDC_ID_TOKEN", "HF_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"} <= {
        name for name, value in network.ENVIRONMENT.items() if value is None
    }
