"""A clone with its origin, and programs on PATH that stand for GitHub's and for tinybuild's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PERSON = ("-c", "user.name=A Person", "-c", "user.email=person@example.org")
# Keeps pull requests and comments in a file, as gh shows them.
GH = """\
#!{python}
import json, pathlib, re, sys
place = pathlib.Path({state!r})
state = json.loads(place.read_text())
words = sys.argv[1:]
state["calls"].append(words)
def option(name):
    return words[words.index(name) + 1] if name in words else None
if words[0] == "api" and "--method" not in words:
    print(json.dumps([state["comments"][:1], state["comments"][1:]]))
elif words[0] == "api":
    known = re.search(r"comments/(\\d+)$", words[3])
    pull = re.search(r"pulls/(\\d+)$", words[3])
    body = sys.stdin.read()
    if pull:
        (title,) = (word[6:] for word in words if word.startswith("title="))
        found = next(p for p in state["pulls"] if p["number"] == int(pull[1]))
        found |= {{"title": title, "body": body}}
    elif known:
        next(c for c in state["comments"] if c["id"] == int(known[1]))["body"] = body
    else:
        state["comments"].append({{"id": 100 + len(state["comments"]), "body": body}})
elif words[:2] == ["pr", "list"]:
    print(json.dumps(state["pulls"]))
elif words[:2] == ["pr", "create"]:
    number = len(state["pulls"]) + 1
    state["pulls"].append({{"number": number, "headRefName": option("--head"),
        "title": option("--title"), "body": sys.stdin.read(), "base": option("--base")}})
    print(f"https://github.com/o/r/pull/{{number}}")
elif words[:2] == ["run", "list"]:
    if state["runs"] is None:
        sys.exit("HTTP 403: Resource not accessible by integration")
    print(json.dumps([{{"headSha": sha}} for sha in state["runs"]]))
else:
    sys.exit("gh: no such call: " + " ".join(words))
place.write_text(json.dumps(state))
"""


class Forge:
    """root: a clone, at main. gh's state: calls, comments, pulls, runs (commits of those that
    succeeded, the last first; None where the token may not ask)."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.state, self.root = folder / "state.json", folder / "clone"
        self.state.write_text(json.dumps({"calls": [], "comments": [], "pulls": [], "runs": []}))
        programs = folder / "bin"
        programs.mkdir()
        (programs / "gh").write_text(GH.format(python=sys.executable, state=str(self.state)))
        (programs / "gh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin"))
        self.root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", ".", at=self.root)
        self.git("remote", "add", "origin", str(folder / "origin"), at=self.root)

    def git(self, *words: str, at: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *PERSON, *words],
            cwd=at or self.root.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        """Commit all of the clone, and push it to main."""
        self.git("add", "--all", at=self.root)
        self.git("commit", "--quiet", "--allow-empty", "--message", message, at=self.root)
        self.git("push", "--quiet", "origin", "HEAD:main", at=self.root)

    def __getitem__(self, key: str) -> list[dict[str, str]]:
        state: dict[str, list[dict[str, str]]] = json.loads(self.state.read_text())
        return state[key]
