"""The command that makes the pages of a zoo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tinybuild.catalog.rows import is_bundle, row
from tinybuild.cli.building import state
from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session
from tinybuild.engine.orphans import orphans
from tinybuild.errors import Fault, Finding, RecipeFault
from tinybuild.page.samples import TEXTS, Token
from tinybuild.page.site import INDEX, Entry, Site, make
from tinybuild.tokenizer.shown import Asked, holds


def _page(here: Session, words: Sequence[str], options: Options) -> Lines:
    entries = list(_entries(here))
    if not any(entry.row for entry in entries):
        raise RecipeFault.of("there is no bundle in dist/", hint="tinybuild build makes them")
    said = list[str]()

    def foreign(folder: Path) -> Sequence[Sequence[Token]]:
        if not holds(folder):
            return []
        asked = Asked(folder=folder, texts=TEXTS)
        try:
            told = here.pool.call("tinybuild.tokenizer.shown:tokens", asked, sort="warm")
        except Fault as fault:
            said.append(f"no tokens of {folder.relative_to(here.root)}: {fault.findings[0].what}")
            return []
        return [[(token, number, (a, b)) for token, number, (a, b) in cut] for cut in told]

    site = Site(folder=here.root / "dist", zoo=here.root.resolve().name, foreign=foreign)
    make(site, entries, said.append)
    yield from said
    kept = f"{len(site.kept)} of {len(entries)} pages had nothing to change; " if site.kept else ""
    yield f"{kept}look at dist/{INDEX}"
    return Answer(data={"wrote": [*site.wrote], "kept": [*site.kept]})


def _entries(here: Session) -> Iterator[Entry]:
    """Every recipe, and every bundle that has none any more, sorted by name: first what there is to
    see, then what was never built."""
    made = [*_built(here), *_broken(here), *_orphans(here)]
    yield from sorted(made, key=lambda entry: (not (entry.row or entry.findings), entry.name))


def _built(here: Session) -> Iterator[Entry]:
    for recipe in here.zoo.recipes.values():
        place = here.root / "dist" / recipe.name
        fetched = here.builder.place(f"fetch:{recipe.name}")
        now = state(here, recipe.name)
        yield Entry(
            name=recipe.name,
            group=recipe.group,
            state=now,
            summary=recipe.summary,
            findings=tuple(_said(here, recipe.name)) if now == "failed" else (),
            row=row(place) if is_bundle(place) else None,
            sources=(fetched / "tokenizer", fetched / "source"),
        )


def _said(here: Session, name: str) -> Iterator[str]:
    """What was said where a recipe's last build failed."""
    for task in here.zoo.tasks_of(name):
        failure = here.builder.failure(task)
        for said in failure.findings if failure is not None else ():
            yield str(Finding(what=said.what, where=said.where, hint=said.hint))


def _broken(here: Session) -> Iterator[Entry]:
    for broken in here.zoo.broken:
        findings = tuple(str(finding) for finding in here.refusal(broken).findings)
        yield Entry(
            name=broken.name, group=broken.group, state="broken", summary="", findings=findings
        )


def _orphans(here: Session) -> Iterator[Entry]:
    for orphan in orphans(here.zoo):
        place = here.root / "dist" / orphan.name
        if is_bundle(place):
            yield Entry(
                name=orphan.name,
                group="",
                state="orphan",
                summary="its recipe is gone",
                row=row(place),
            )


PAGE = Command(
    doc="write dist/index.html, a page for each bundle, and catalog.json and .csv",
    do=_page,
    words="",
    more="The pages need no network and no server. Those of bundles that have not changed stay.",
)
