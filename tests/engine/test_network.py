"""Nothing but fetch asks the Hub for anything, and nothing else sees a token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit import hub
from kit.files import contents
from kit.hub import Trouble
from kit.zoo import doit, make

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
    """It is refused without a question to the Hub, and what the hint says works."""
    root = make(tmp_path / "zoo", a=RECIPE)
    config = root / "from/config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(HEAD))
    with hub.serve() as server:
        files = {"config.json": json.dumps(BACKBONE).encode()}
        server.repo("owner/backbone").commit(files)
        online = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_secret", "HF_HUB_OFFLINE": "0"}
        result = doit(root, **online)
        assert result.code == 1, result.out + result.err
        assert "Traceback" not in result.out + result.err
        assert (
            "recipes/a.yaml:3:1: backbone of the source's config.json is a repository of the Hub, "
            "owner/backbone, and only fetch reaches the Hub"
        ) in result.out
        assert "delete backbone and say what owner/backbone has" in result.out
        assert "as backbone_config: {model_type: ...}" in result.out
        head = {key: value for key, value in HEAD.items() if key != "backbone"}
        config.write_text(json.dumps({**head, "backbone_config": BACKBONE}))
        result = doit(root, **online)
        assert result.code == 0, result.out + result.err
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
        (Trouble(where="/api/", status=418, times=9), "418"),
        (Trouble(where="/api/", status=200, body=b"[1]", times=9), "not the Hub"),
        (Trouble(where="/resolve/", status=503, headers={"Retry-After": "900"}), "900 s"),
    ],
    ids=["busy once", "refused", "portal", "busy long"],
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
