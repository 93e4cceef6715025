"""Which commit a merge is compared with, so that nothing stays unpublished.

That of the last run that succeeded: one that failed, or that GitHub cancelled because a later one
waited, published nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tinybuild.errors import BuildFault
from tinybuild.forge import programs

WORKFLOW = "GITHUB_WORKFLOW_REF"  # owner/name/.github/workflows/publish.yml@refs/heads/main
_PLACE = re.compile(r"[^/]+/[^/]+/\.github/workflows/([^/@]+)@refs/heads/(.+)")


def since(root: Path, before: str) -> tuple[str, str]:
    """The commit, "" where there is none before; and why it is not the last run's, where it cannot
    be asked for. before: the one that the branch was at before the merge."""
    place, why, last = _PLACE.fullmatch(os.environ.get(WORKFLOW, "")), "", ""
    if place is not None:
        try:
            last = _last(root, place[1], place[2])
        except BuildFault as fault:
            why = fault.findings[0].what
    commits = [commit for commit in (last, before) if commit and _known(root, commit)]
    return (commits[0] if commits else ""), why


def _last(root: Path, workflow: str, branch: str) -> str:
    """The commit of the last run of a workflow on a branch that succeeded; "" where none did."""
    asked = ("--workflow", workflow, "--branch", branch, "--status", "success", "--limit", "1")
    rows = programs.gh(root, "run", "list", *asked, "--json", "headSha").data()
    first = rows[0] if isinstance(rows, list) and rows else {}
    return str(first.get("headSha", "")) if isinstance(first, dict) else ""


def _known(root: Path, commit: str) -> bool:
    """Whether the clone has a commit: one of a branch that was rewritten may be gone, and a new
    branch was at none (0000...)."""
    there = programs.git(
        root, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{commit}^{{commit}}"
    )
    return there.code == 0


def affected(root: Path, commit: str) -> list[str]:
    """The recipes that differ from a commit. Raises BuildFault."""
    return programs.tinybuild(root, "affected", commit, "--names").held().out.split()
