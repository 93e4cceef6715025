"""Pull requests for recipes whose upstream moved: a few at a time, each with what it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybuild.errors import BuildFault, Finding, RecipeFault, did_you_mean, first_line
from tinybuild.forge import programs
from tinybuild.paths import Json, mapping

BRANCH = "tinybuild/update/"  # and the name of the recipe
OPEN = 3  # pull requests of ours that are open at most
SKIPPED = ".github/tinybuild-skip.yaml"  # NAME: why it is left as it is
LONGEST = 60_000  # characters of a description; GitHub takes 65,536
ASIDE = f"""

To leave this recipe alone, write `{{name}}: REASON` to `{SKIPPED}` and close this. The label
`tinybuild-again` has it made again from what is upstream then.
"""
EMAIL = "41898282+github-actions[bot]@users.noreply.github.com"  # of who writes what workflows do
AUTHOR = ("-c", "user.name=github-actions[bot]", "-c", f"user.email={EMAIL}")
ABSENT = 2  # how git ends where a branch is not there
LOGIN = ("-c", "credential.helper=!gh auth git-credential")  # nothing is kept in the clone


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is done about recipes that moved. propose: for these a pull request is made, or brought
    up to date. left: recipe -> why nothing is done."""

    propose: tuple[str, ...]
    left: Mapping[str, str]


def choose(
    moved: Sequence[str], opened: Sequence[str], skip: Mapping[str, str], most: int = OPEN
) -> Chosen:
    """Which recipes are proposed: those of open pull requests, then others while there is room."""
    left = {name: f"skipped: {skip[name]}" for name in moved if name in skip}
    wanted = sorted(
        (name for name in moved if name not in skip), key=lambda name: name not in opened
    )
    room = max(most - len(opened), 0)
    new = [name for name in wanted if name not in opened]
    waiting = f"{len(opened)} pull requests are open; at most {most} are"
    left |= dict.fromkeys(new[room:], waiting)
    return Chosen(propose=tuple(name for name in wanted if name not in left), left=left)


def skipped(root: Path, known: Sequence[str]) -> dict[str, str]:
    """The recipes that are not to be proposed, each with its reason. Raises RecipeFault."""
    import yaml

    path = root / SKIPPED
    if not path.is_file():
        return {}
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeFault.of(f"this is not YAML: {first_line(error)}", where=SKIPPED) from None
    if not isinstance(data, Mapping):
        hint = "write NAME: why it is left as it is"
        raise RecipeFault.of("a mapping of recipes to reasons is wanted", where=SKIPPED, hint=hint)
    wrong = list(_wrong(data, known))
    if wrong:
        raise RecipeFault(wrong)
    return {str(name): str(reason) for name, reason in data.items()}


def _wrong(data: Mapping[Json, Json], known: Sequence[str]) -> Iterator[Finding]:
    for name, reason in data.items():
        if str(name) not in known:
            what = f"there is no recipe {name}"
            yield Finding(what=what, where=SKIPPED, hint=did_you_mean(str(name), known))
        if not isinstance(reason, str) or not reason.strip():
            hint = f"write {name}: why it is left as it is"
            yield Finding(what=f"{name} has no reason", where=SKIPPED, hint=hint)


@dataclass(frozen=True, kw_only=True)
class Outdated:
    """moved: recipes of which something that is used moved upstream; not those of which only the
    commit did. unknown: recipe -> why that cannot be known."""

    moved: tuple[str, ...]
    unknown: Mapping[str, str]


def outdated(root: Path) -> Outdated:
    """What `tinybuild outdated` says of all recipes. Raises BuildFault."""
    said = programs.tinybuild(root, "outdated", "--json")
    known = mapping(said.data()).get("sources")
    if known is None:
        said.held(0, programs.MOVED)
    rows = _rows([known])
    return Outdated(
        moved=tuple(dict.fromkeys(str(row["recipe"]) for row in rows if row["state"] == "moved")),
        unknown={
            str(row["recipe"]): "; ".join(str(one["what"]) for one in _rows([row["refusals"]]))
            for row in rows
            if row["state"] == "refused"
        },
    )


def opened(root: Path) -> dict[str, int]:
    """The recipes of our open pull requests, the oldest first, and the number of each."""
    fields = ("--state", "open", "--limit", "200", "--json", "headRefName,number")
    rows = _rows([programs.gh(root, "pr", "list", *fields).data()])
    rows.sort(key=lambda row: int(str(row["number"])))
    heads = {str(row["headRefName"]): int(str(row["number"])) for row in rows}
    ours = {head: number for head, number in heads.items() if head.startswith(BRANCH)}
    return {head.removeprefix(BRANCH): number for head, number in ours.items()}


def _rows(lists: Sequence[Json]) -> list[Mapping[str, Json]]:
    """The objects in lists."""
    every = [one for rows in lists if isinstance(rows, list) for one in rows]
    return [one for one in every if isinstance(one, Mapping)]


def propose(root: Path, name: str, *, base: str, known: int | None) -> str:
    """Updates a recipe's lock on a branch of its own, builds it, and has a pull request to the
    branch `base` say what that changes; what was done. known: the number of the one that there is.

    The folder is left at the commit at which it was. Raises BuildFault.
    """
    if programs.git(root, "status", "--porcelain", "--untracked-files=no").held().out:
        what = "something is not committed here, and another branch is needed"
        raise BuildFault.of(what, hint="commit it, or work in a fresh clone")
    was = programs.git(root, "rev-parse", "HEAD").held().out.strip()
    branch = f"{BRANCH}{name}"
    try:
        programs.git(root, "switch", "--quiet", "--force-create", branch).held()
        return _proposed(root, name, was, base, known=known)
    finally:
        programs.git(root, "switch", "--quiet", "--force", "--detach", was).held()


def _proposed(root: Path, name: str, was: str, base: str, *, known: int | None) -> str:
    branch = f"{BRANCH}{name}"
    updated = programs.tinybuild(root, "update", name)
    if updated.code not in (0, programs.MOVED):
        return f"{name}: cannot be updated: {updated.last}"
    programs.git(root, "add", "--all", "--", "recipes").held()
    if programs.git(root, "diff", "--cached", "--quiet").code == 0:
        return f"{name}: its lock stays as it is"
    built, title = programs.tinybuild(root, "build", name), f"{name}: its upstream moved"
    differs = built if built.code else programs.tinybuild(root, "diff", was, name, "--markdown")
    if built.code:
        title += ", and it does not build any more"
    elif differs.code == 0:
        return f"{name}: its bundle stays as it is"
    place = f"refs/heads/{branch}"
    asked = programs.git(root, *LOGIN, "ls-remote", "--exit-code", "origin", place)
    there = asked.held(0, ABSENT).out.partition("\t")[0]
    if there:
        programs.git(root, *LOGIN, "fetch", "--quiet", "origin", there).held()
        author = programs.git(root, "log", "-1", "--format=%ae", "FETCH_HEAD").held().out.strip()
        if author != EMAIL:
            return f"{name}: somebody works on {branch}"
        if (
            programs.git(root, "diff", "--cached", "--quiet", "FETCH_HEAD", "--", "recipes").code
            == 0
        ):
            return f"{name}: the branch {branch} says so already"
    programs.git(root, *AUTHOR, "commit", "--quiet", "--message", title).held()
    ours = ("--quiet", f"--force-with-lease={place}:{there}")  # nobody has pushed meanwhile
    programs.git(root, *LOGIN, "push", *ours, "origin", f"HEAD:{place}").held()
    text = (updated.out.strip(), "## In the bundle", (differs.out + differs.err).strip())
    body = "\n\n".join(text)[:LONGEST] + ASIDE.format(name=name)
    if known is not None:  # `gh pr edit` asks for more than a workflow's token may see
        pull = f"repos/{{owner}}/{{repo}}/pulls/{known}"
        fields = ("--raw-field", f"title={title}", "--field", "body=@-")
        programs.gh(root, "api", "--method", "PATCH", pull, "--silent", *fields, text=body)
        return f"{name}: the pull request is brought up to date"
    words = ("--head", branch, "--base", base, "--title", title, "--body-file", "-")
    made = programs.gh(root, "pr", "create", *words, text=body)
    return f"{name}: {made.out.strip()}"
