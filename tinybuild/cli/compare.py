"""The commands of a review: what a revision affects, and what it changed in the bundles."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuild import wire
from tinybuild.cli.building import SHARD
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.compare.affected import Affected, Verdict, affected
from tinybuild.compare.revision import checked_out
from tinybuild.errors import RecipeFault


def _affected(here: Session, words: Sequence[str], options: Options) -> Lines:
    if len(words) != 1:
        hint = "such as doit affected main, or doit affected HEAD~1"
        raise RecipeFault.of("affected takes one revision of the repository", hint=hint)
    with checked_out(here.root, words[0]) as revision:
        verdict = affected(here.zoo, here.memo, revision)
    names = [one.recipe for one in verdict.affected]
    names = list(here.share(names, options["shard"]))
    told = [one for one in verdict.affected if one.recipe in names]
    yield from names if options["names"] else _told(verdict, told)
    return Answer(data={**wire.dump(verdict), "affected": wire.dump(told), "names": names})


def _told(verdict: Verdict, told: Sequence[Affected]) -> Lines:
    for one in told:
        if one.state == "new":
            yield f"{one.recipe:<24} is new"
        for stage in one.stages if one.state != "new" else ():
            task = f"{stage.stage}:{one.recipe}"
            follows = "may differ: what it takes from others does"
            yield from (f"{task:<24} {reason}" for reason in stage.reasons or [follows])
    yield from (f"{name:<24} is gone" for name in verdict.gone)
    yield from (f"{name:<24} is broken: see doit check {name}" for name in verdict.broken)
    yield from (f"note: {note}" for note in verdict.notes)
    if not told and not verdict.gone and not verdict.broken:
        yield f"nothing differs from {verdict.commit[:12]}"
    return Answer()


AFFECTED = Command(
    doc="the recipes of which a stage would differ from those of a revision; build nothing",
    do=_affected,
    words="BASE",
    options={
        "shard": SHARD,
        "names": Option(help="only their names: doit $(doit affected BASE --names)"),
    },
    group="hub",
    more="BASE is a branch, a tag or a commit of the git repository that the zoo is in. Settings,\n"
    "seeds, locks, local sources, code and pinned libraries are compared. Exit code 0.",
)
