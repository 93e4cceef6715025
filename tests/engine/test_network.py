"""Nothing but fetch asks the Hub for anything, and nothing else sees a token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kit import hub
from kit.files import contents
from kit.hub import Trouble
from kit.zoo import doit, make, snapshot

RECIPE = """\
version: 1
summary: a head on the backbone of another repository
source: {path: ../from}
model: {architecture: UperNetForSemanticSegmentation}
"""
# What the Hub would say of owner/backbone, where somebody asked.
BACKBONE = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
HEAD = {
    "model_type": "upernet",
    "architectures": ["UperNetForSemanticSegmentation"],
    "hidden_size": 8,
    "auxiliary_channels": 8,
    "auxiliary_in_channels": 8,
    "backbone": "owner/backbone",
}


def test_a_config_that_names_another_repository(tmp_path: Path) -> None:
    """Fetch asks for its config and for no weights, and locks it; no other stage asks anybody."""
    root = make(tmp_path / "zoo", a=RECIPE)
    config = root / "from/config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(HEAD))
    with hub.serve() as server:
        files = {"config.json": json.dumps(BACKBONE).encode(), "model.safetensors": b"weights"}
        server.repo("owner/backbone").commit(files)
        online = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_secret", "HF_HUB_OFFLINE": "0"}
        online["HF_HOME"] = str(tmp_path / "hf")  # what another run kept is not asked for
        result = doit(root, "fetch:a", **online)
        assert result.code == 0, result.out + result.err
        asked = {line.rpartition("/")[2] for line in server.asked("/resolve/")}
        assert asked == {"config.json"}
        pins = json.loads((root / "recipes/a.lock.json").read_text())["pins"]
        assert "source.backbone" in pins
        server.log.clear()
        server.tokens.clear()
        result = doit(root, **online)
        assert (result.code, result.ran & {"fetch:a", "model:a"}) == (0, {"model:a"}), result.out
        assert server.log == []
        assert server.tokens == []


ROWS = """\
version: 1
summary: rows of the Hub
dataset: {source: {hub: owner/rows}, samples: 2}
"""
SECRETS = ("pass-word", "hf_aVeryPrivateToken")


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble(where="/api/", status=503, headers={"Retry-After": "0"}), "built"),
        (Trouble(where="/resolve/", status=503, headers={"Retry-After": "900"}), "900 s"),
    ],
    ids=["busy once", "busy long"],
)
def test_no_secret_is_said_or_written(tmp_path: Path, trouble: Trouble, words: str) -> None:
    """Not the token, and not the password of an HF_ENDPOINT: in no message, log, note or bundle."""
    root = make(tmp_path / "zoo", a=ROWS)
    with hub.serve() as server:
        server.dataset("owner/rows").commit({"data.jsonl": b'{"text": "a"}\n{"text": "b"}\n'})
        server.troubles.append(trouble)
        endpoint = server.url.replace("http://", f"http://user:{SECRETS[0]}@")
        home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        result = doit(root, HF_ENDPOINT=endpoint, HF_TOKEN=SECRETS[1], **home)
        assert server.tokens, "the client was given a secret"
    said = result.out + result.err
    assert words in said
    assert "Traceback" not in said
    held = [
        name for name, data in contents(tmp_path).items() for s in SECRETS if s.encode() in data
    ]
    assert held == []
    assert not any(secret in said for secret in SECRETS)


def test_through_a_proxy_then_without_a_network(tmp_path: Path) -> None:
    """HF_ENDPOINT, HTTP_PROXY and HF_HOME are the user's; with HF_HUB_OFFLINE and without build/ it
    makes the same bundle."""
    root = make(tmp_path / "zoo", a=ROWS)
    home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": "http://hub.invalid"}
    with hub.serve() as server:
        server.dataset("owner/rows").commit({"data.jsonl": b'{"text": "a"}\n{"text": "b"}\n'})
        through = {"HTTP_PROXY": server.url, "http_proxy": server.url, "NO_PROXY": ""}
        result = doit(root, **home, **through, HF_HUB_OFFLINE="0", no_proxy="")
        assert result.code == 0, result.out + result.err
        assert server.asked("/api/datasets/owner/rows")
    made = snapshot(root / "dist")
    shutil.rmtree(root / "build")
    shutil.rmtree(root / "dist")
    result = doit(root, **home, HF_HUB_OFFLINE="1")
    assert result.code == 0, result.out + result.err
    assert snapshot(root / "dist") == made


def test_a_server_that_drips(tmp_path: Path) -> None:
    """One byte a second is never silent for long: the time that a task may take ends it."""
    root = make(tmp_path / "zoo", a=ROWS + "limits: {seconds: 4}\n")
    with hub.serve() as server:
        server.dataset("owner/rows").commit({"data.jsonl": b'{"text": "a"}\n'})
        server.troubles.append(Trouble(where="/api/", slow=1, times=9))
        home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        result = doit(root, HF_ENDPOINT=server.url, **home)
    assert result.code == 1, result.out + result.err
    assert "longer than 4 s" in result.out
