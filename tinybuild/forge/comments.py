"""A comment on a pull request that is made once, and from then on edited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinybuild.forge import programs
from tinybuild.paths import Json

MARK = "<!-- tinybuild -->"  # the first line of our comment, which nobody sees
LONGEST = 60_000  # characters; GitHub takes 65,536
CUT = "\n\n... the rest is in the artefacts of the workflow's run."


def comment(root: Path, pull: str, text: str) -> str:
    """Says a text on a pull request, in the comment of last time where there is one; what was
    done. Raises BuildFault."""
    body = f"{MARK}\n{text}"
    if len(body) > LONGEST:
        body = body[: LONGEST - len(CUT)].rpartition("\n")[0] + CUT
    place = f"repos/{{owner}}/{{repo}}/issues/{pull}/comments"
    said = programs.gh(root, "api", "--paginate", "--slurp", place)
    for one in _comments(said.data()):
        if str(one.get("body", "")).startswith(MARK):
            known = f"repos/{{owner}}/{{repo}}/issues/comments/{one['id']}"
            programs.gh(root, *_send("PATCH", known), text=body)
            return f"edited the comment on pull request {pull}"
    programs.gh(root, *_send("POST", place), text=body)
    return f"commented on pull request {pull}"


def _send(method: str, place: str) -> tuple[str, ...]:
    return ("api", "--method", method, place, "--silent", "--field", "body=@-")


def _comments(data: Json) -> list[Mapping[str, Json]]:
    """The comments of all pages."""
    pages = data if isinstance(data, list) else []
    every = [one for page in pages if isinstance(page, list) for one in page]
    return [one for one in every if isinstance(one, Mapping)]
