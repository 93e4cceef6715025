"""One comment on a pull request, made once and edited from then on."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.forge import Forge

from tinybuild.errors import BuildFault
from tinybuild.forge.comments import MARK, comment


def test_the_comment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = Forge(tmp_path, monkeypatch)
    assert comment(forge.root, "7", "one") == "commented on pull request 7"
    assert comment(forge.root, "7", "two") == "edited the comment on pull request 7"
    assert [one["body"] for one in forge["comments"]] == [f"{MARK}\ntwo"]
    assert "repos/{owner}/{repo}/issues/7/comments" in forge["calls"][0]


def test_a_long_text_is_cut_at_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = Forge(tmp_path, monkeypatch)
    comment(forge.root, "7", "a line of text\n" * 9000)
    (made,) = forge["comments"]
    assert len(made["body"]) < 60_001
    assert made["body"].endswith(
        "a line of text\n\n... the rest is in the artefacts of the workflow's run."
    )


def test_what_gh_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = Forge(tmp_path, monkeypatch)
    program = tmp_path / "bin/gh"
    program.write_text("#!/bin/sh\necho 'HTTP 403: Resource not accessible' >&2\nexit 1\n")
    with pytest.raises(BuildFault, match="gh api ended with 1: HTTP 403: Resource not accessible"):
        comment(forge.root, "7", "one")
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(BuildFault, match="there is no program gh here"):
        comment(forge.root, "7", "one")
