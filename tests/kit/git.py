"""A git repository in a temporary folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

WHO = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(root: Path, *words: str) -> str:
    """What git says, without the configuration of whoever runs the test."""
    done = subprocess.run(
        ["git", *words], cwd=root, env={**os.environ, **WHO}, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def commit(root: Path, words: str = "a state") -> str:
    """Commit all there is, in a repository that is begun if need be; the commit."""
    if not (root / ".git").exists():
        git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", words)
    return git(root, "rev-parse", "HEAD")
