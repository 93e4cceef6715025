"""The files by which a zoo calls tinybuild's workflows at GitHub, and its hook of pre-commit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tinybuild.errors import RecipeFault

_PLACE = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_.-]+?)(?:@([A-Za-z0-9][A-Za-z0-9_./-]*))?"
)
PRE_COMMIT = ".pre-commit-config.yaml"
REQUIREMENTS = "requirements.txt"

HOOK = """\
repos:
  - repo: local
    hooks:
      - id: tinybuild-check
        name: tinybuild check
        entry: tinybuild check
        language: system
        files: ^(recipes/.*|zoo\\.yaml)$
        require_serial: true
"""
CALLER = """\
name: {title}
on:{on}
permissions: {{}}
jobs:
  zoo:
    permissions: {{ {permissions} }}
    uses: {repo}/.github/workflows/zoo-{name}.yml@{ref}
    with:
      packages: -r {requirements}
"""
WEEKLY = """
  schedule: [{ cron: "17 4 * * 1" }]
  workflow_dispatch:
  pull_request: { types: [labeled] }"""
# name -> when it runs, and what its token may do
CALLERS: Mapping[str, tuple[str, str]] = {
    "pull-request": (" pull_request", "contents: read, pull-requests: write"),
    "schedule": (WEEKLY, "contents: write, pull-requests: write"),
    "publish": (
        " { push: { branches: [main] } }",
        "contents: read, actions: read, id-token: write",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The repository of GitHub that has tinybuild, and which state of it is taken."""

    repo: str
    ref: str

    @classmethod
    def read(cls, text: str) -> Place:
        """OWNER/REPO, or OWNER/REPO@REF. Raises RecipeFault."""
        found = _PLACE.fullmatch(text)
        if found is None:
            what = f"--ci {text} is not a repository of GitHub"
            raise RecipeFault.of(what, hint="--ci OWNER/tinybuild, or OWNER/tinybuild@v1")
        return cls(repo=found[1], ref=found[2] or "main")


def workflows(place: Place) -> dict[str, str]:
    """path -> text: the workflows of a zoo, and what they install."""
    named = {"repo": place.repo, "ref": place.ref, "requirements": REQUIREMENTS}
    made = {
        f".github/workflows/{name}.yml": CALLER.format(
            title=name.replace("-", " "), name=name, on=on, permissions=permissions, **named
        )
        for name, (on, permissions) in CALLERS.items()
    }
    package = f"tinybuild-models[zoo] @ git+https://github.com/{place.repo}@{place.ref}\n"
    return {**made, REQUIREMENTS: package}
