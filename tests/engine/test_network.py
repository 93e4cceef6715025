"""Nothing but fetch asks the Hub for anything, and nothing else sees a token."""

from __future__ import annotations

import json
from pathlib import Path

from kit import hub
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
