"""`ci`: what workflows do at GitHub beside building, comparing and publishing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.errors import Fault, RecipeFault, did_you_mean
from tinybuild.forge import comments, merged, proposals
from tinybuild.publish.wishes import repositories


def _comment(here: Session, words: Sequence[str], options: Options) -> Lines:
    if len(words) != 2 or not words[0].isdecimal():
        hint = "such as tinybuild ci comment 12 report.md"
        raise RecipeFault.of("comment takes a pull request and a file of Markdown", hint=hint)
    file = here.root / words[1]
    if not file.is_file():
        raise RecipeFault.of(f"there is no file {words[1]}")
    done = comments.comment(here.root, words[0], file.read_text(encoding="utf-8"))
    yield done
    return Answer(data={"pull": words[0], "done": done})


def _propose(here: Session, words: Sequence[str], options: Options) -> Lines:
    root = here.root
    skip, most = proposals.skipped(root, here.zoo.names), options["most"] or str(proposals.OPEN)
    if not most.isdecimal():
        raise RecipeFault.of(f"--most {most} is not a number")
    opened, wanted, unknown = proposals.opened(root), here.named(words), dict[str, str]()
    if not words:
        told = proposals.outdated(root)
        wanted, unknown = told.moved, {**told.unknown}
    chosen = proposals.choose(wanted, [*opened], skip, int(most))
    done = {**unknown, **chosen.left}
    yield from (f"{name}: {why}" for name, why in done.items())
    failed = int(bool(unknown))
    for name in chosen.propose:
        base = options["base"] or "main"
        try:
            done[name] = proposals.propose(root, name, base=base, known=opened.get(name))
        except Fault as fault:
            done[name], failed = str(fault), 1
        yield done[name]
    if not done:
        yield "nothing moved that is used"
    return Answer(data=done, code=failed)


def _homes(here: Session, words: Sequence[str], options: Options) -> Lines:
    chosen: Sequence[str] = here.named(words)
    if not words:
        for one in here.zoo.broken:
            here.screen.warn(str(here.refusal(one)))
        commit, why = merged.since(here.root, options["before"])
        if why:
            here.screen.warn(f"the last run that published cannot be asked for: {why}")
        chosen = merged.affected(here.root, commit) if commit else [*here.zoo.recipes]
    names = [name for name in chosen if repositories(here.recipe(name))]
    yield from names
    return Answer(data=[*names])


STEPS: Mapping[str, Callable[[Session, Sequence[str], Options], Lines]] = {
    "comment": _comment,
    "homes": _homes,
    "propose": _propose,
}


def _ci(here: Session, words: Sequence[str], options: Options) -> Lines:
    step = words[0] if words else ""
    if not step:
        raise RecipeFault.of("ci takes a step", hint=f"one of {', '.join(STEPS)}")
    if step not in STEPS:
        raise RecipeFault.of(f"ci has no step {step!r}", hint=did_you_mean(step, STEPS))
    return (yield from STEPS[step](here, words[1:], options))


CI = Command(
    doc="what a workflow of GitHub says and proposes; needs gh and its token",
    do=_ci,
    words="comment PULL FILE | homes [NAME ...] | propose [NAME ...]",
    options={
        "before": Option(help="the commit before the merge, of homes", value="COMMIT"),
        "base": Option(help="the branch that pull requests are for [main]", value="BRANCH"),
        "most": Option(help="pull requests of this kind that are open at most [3]", value="N"),
    },
    group="hub",
    more="comment says a file of Markdown on a pull request, in one comment that is edited from\n"
    "then on. homes names those of the recipes that are published (without names, of those that\n"
    "differ from the last run that succeeded, else from --before). propose updates recipes of\n"
    "which something that is used moved upstream (or those named), each on a branch of its own\n"
    "with a pull request that says what changes in the bundle; .github/tinybuild-skip.yaml names\n"
    "those to leave alone, each with its reason.",
)
