"""The command that says what a build would do, and how large its models would be."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session
from tinybuild.errors import Fault
from tinybuild.paths import Json
from tinybuild.progress import count, size, table
from tinybuild.review.recipes import Reviewer

UNKNOWN = "known when it is fetched"


def _plan(here: Session, words: Sequence[str], options: Options) -> Lines:
    rows = list[dict[str, Json]]()
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as scratch:
        reviewer = Reviewer(zoo=here.zoo, builder=here.builder, scratch=Path(scratch))
        for name in here.named(words) or here.zoo.groups[""]:
            here.recipe(name)
            rows.append(_row(here, reviewer, name))
    head = ("recipe", "would run", "class", "parameters", "weights", "because")
    told = [[str(row["recipe"]), *_cells(row)] for row in rows]
    yield table(head, told, right=(3, 4))
    todo = [row for row in rows if row["runs"]]
    yield f"{len(todo)} of {len(rows)} recipes would run"
    return Answer(data=[*rows])


def _row(here: Session, reviewer: Reviewer, name: str) -> dict[str, Json]:
    """What a build would do for a recipe. parameters, bytes: of the model that it would make."""
    runs, because = list[Json](), ""
    for task in here.zoo.tasks_of(name):
        reasons = here.builder.reasons(task)
        if reasons or {*task.before} & {f"{stage}:{name}" for stage in runs}:
            runs.append(task.stage)
        because = because or next(iter(reasons), "")
    row: dict[str, Json] = {"recipe": name, "runs": runs, "because": because}
    if "model" not in runs:
        return row
    try:
        made = reviewer.size(name)
    except Fault as fault:
        return {**row, "fault": fault.findings[0].what}
    if made is None:
        return {**row, "note": UNKNOWN}
    return {**row, "class": made.class_, "parameters": made.parameters, "bytes": made.bytes}


def _cells(row: dict[str, Json]) -> list[str]:
    runs, parameters, weights = row["runs"], row.get("parameters"), row.get("bytes")
    assert isinstance(runs, list)
    return [
        ", ".join(map(str, runs)) or "nothing",
        str(row.get("class", "-")),
        count(parameters if isinstance(parameters, int) else None),
        size(weights if isinstance(weights, int) else None),
        str(row.get("fault") or row.get("note") or row["because"]),
    ]


PLAN = Command(
    doc="what a build would do, and how large its models would be; build nothing",
    do=_plan,
    more="Without a name: the recipes of recipes/ itself. Sizes are those of the config that a\n"
    "build would make, with as many tokens as the recipe says. `why` has every reason.",
)
