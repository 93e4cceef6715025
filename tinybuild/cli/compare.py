"""The commands of a review: what a revision affects, and what it changed in the bundles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tinybuild import bundle, wire
from tinybuild.cli import bases
from tinybuild.cli.building import SHARD
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.compare import Comparison, folders, markdown, summary
from tinybuild.compare.affected import Affected, Verdict, affected
from tinybuild.compare.bundles import Asked
from tinybuild.compare.markdown import code
from tinybuild.compare.revision import checked_out
from tinybuild.errors import RecipeFault


def _affected(here: Session, words: Sequence[str], options: Options) -> Lines:
    if len(words) != 1:
        hint = "such as tinybuild affected main, or tinybuild affected HEAD~1"
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
    yield from (f"{name:<24} is broken: see tinybuild check {name}" for name in verdict.broken)
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
        "names": Option(help="only their names, for $(tinybuild affected BASE --names)"),
    },
    group="hub",
    more="BASE is a branch, a tag or a commit of the git repository that the zoo is in. Settings,\n"
    "seeds, locks, local sources, code and pinned libraries are compared. Exit code 0.",
)


def _diff(here: Session, words: Sequence[str], options: Options) -> Lines:
    if words and all(word.endswith(".json") for word in words):
        base = bases.Base(title="what was written before", places={})
        found = folders.written([here.root / word for word in words])
    else:
        ours = here.share(here.named(words[1:]) or [*here.zoo.recipes], options["shard"])
        with contextlib.ExitStack() as held:
            base = bases.base(here, words, ours, held)
            found = list(_compared(here, base, ours))
    differ = [one for one in found if not one.same]
    if options["markdown"]:
        yield markdown(found).rstrip()
    else:
        yield f"compared with {base.title}: {summary(found)}"
        yield from (line for one in differ for line in _lines(one))
    for note in base.notes:
        yield f"- note: {code(note, most=300)}" if options["markdown"] else f"note: {note}"
    data = {"base": base.title, "bundles": wire.dump(found), "notes": list(base.notes)}
    return Answer(data=data, code=3 if differ else 0)


def _compared(here: Session, base: bases.Base, ours: Sequence[str]) -> Iterator[Comparison]:
    """Each bundle that either side has, read by a worker: a base may be from anywhere."""
    mine = bases.mine(here)
    for name in [name for name in ours if name in mine and name not in base.lost]:
        if name in base.same:
            size = bundle.size(mine[name].folder)
            yield Comparison(name=name, before=size, after=size)
            continue
        within = base.parts.get(name, "")
        asked = Asked(name=name, before=base.places.get(name), after=mine[name], within=within)
        told = here.pool.call("tinybuild.compare.bundles:compared", asked)
        yield wire.load(Comparison, told)
    for name in base.gone:
        yield Comparison(name=name, before=0, after=None)


def _lines(one: Comparison) -> Iterator[str]:
    """What is said of a bundle where not all is told."""
    told = ", ".join(f"{part} {number}" for part, number in one.counts.items())
    how = "is new" if one.before is None else "is gone" if one.after is None else told
    yield f"{one.name:<24} {how or ', '.join(file.path for file in one.files)}"
    for cause in one.causes:
        parts = f" ({', '.join(cause.parts)})" if cause.parts else ""
        yield f"  {cause.kind}: {cause.what}{parts}"


DIFF = Command(
    doc="what changed in the bundles, and why",
    do=_diff,
    words="[BASE [NAME ...] | DIFF.json ...]",
    options={
        "markdown": Option(help="all of it, for a pull request"),
        "shard": SHARD,
    },
    group="hub",
    more="BASE is a revision of the repository (what it affects is built as it was, in a\n"
    "temporary folder), or a folder of bundles; without one, the repositories that recipes are\n"
    "published to. DIFF.json is what --json wrote:\n"
    "several are told as one. Exit code 3 where something differs.",
)
