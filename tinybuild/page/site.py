"""The site of a zoo: index.html, a page for each bundle, and the catalogue as JSON and CSV."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import bundle, wire
from tinybuild.catalog import contents
from tinybuild.catalog.rows import Row
from tinybuild.files import digest, pretty, sha256, write
from tinybuild.modules import drawing, modules
from tinybuild.page import samples
from tinybuild.page.pictures import Picture, pictures
from tinybuild.progress import size

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

INDEX, CATALOG = "index.html", "catalog"
NUMBERS = ("parameters", "bytes", "vocabulary", "rows", "checks")
COLUMNS = (
    *((name, False) for name in ("name", "state", "for", "class", "takes", "kinds")),
    *((name, True) for name in NUMBERS),
    ("licence", False),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A recipe and what became of it. state: up to date, stale, not built, failed, broken, or
    orphan for a bundle without a recipe. row: None where there is no bundle. sources: folders of
    what it was made from, in which a tokenizer may be."""

    name: str
    group: str
    state: str
    summary: str
    findings: tuple[str, ...] = ()
    row: Row | None = None
    sources: tuple[Path, ...] = ()

    @property
    def tags(self) -> Mapping[str, Sequence[str]]:
        """What the index can be filtered by: words without spaces."""
        row = self.row
        return {
            "group": [self.group or "zoo"],
            "state": [self.state.replace(" ", "-")],
            "task": [row.task] if row and row.task else [],
            "takes": row.modalities if row else (),
            "kinds": row.kinds if row else (),
            "licence": [row.licence] if row and row.licence else [],
        }

    @property
    def numbers(self) -> Iterator[tuple[int, str]]:
        """(value to sort by, as it is shown) of each column of numbers."""
        for name in NUMBERS:
            value = getattr(self.row, name) if self.row else None
            if value is None:
                yield -1, ""
            else:
                yield value, size(value) if name == "bytes" else f"{value:,}"


@dataclass
class Site:
    """Pages in a folder. foreign: cuts texts where a folder has no tokenizer.json. kept: those that
    are as they would be made now."""

    folder: Path
    zoo: str
    foreign: samples.Foreign
    wrote: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def make(site: Site, entries: Sequence[Entry], say: Callable[[str], None]) -> None:
    """Write the site of a zoo into the folder where its bundles are. Raises OSError."""
    pages = _environment()
    for entry in entries:
        if entry.row is not None:
            _bundle(site, pages, entry, say)
    filters = {
        name: sorted({value for entry in entries for value in entry.tags[name]})
        for name in ("group", "state", "task", "takes", "kinds", "licence")
    }
    index = pages.get_template(INDEX)
    text = index.render(zoo=site.zoo, entries=entries, filters=filters, columns=COLUMNS)
    write(site.folder / INDEX, text)
    rows = [entry.row for entry in entries if entry.row is not None]
    write(
        site.folder / f"{CATALOG}.json",
        pretty({"version": 1, "bundles": [wire.dump(r) for r in rows]}),
    )
    write(site.folder / f"{CATALOG}.csv", _csv(rows))
    site.wrote += [INDEX, f"{CATALOG}.json", f"{CATALOG}.csv"]


@functools.cache
def code() -> tuple[str, ...]:
    """Digests of what the pages are made with; another version of it makes them anew."""
    here = Path(__file__).parent
    own = (*sorted(here.glob("*.py")), *sorted((here / "templates").iterdir()))
    return tuple(sha256(path) for path in own)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("tinybuild.page")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name, file in (("style", "style.css"), ("script", "page.js")):
        made.globals[name] = loader.get_source(made, file)[0]
    made.filters["breakable"] = breakable
    return made


def breakable(text: str) -> Markup:
    """Text whose long names of classes may break between their words."""
    from markupsafe import Markup, escape

    return Markup(re.sub("(?<=[a-z0-9])(?=[A-Z])", "<wbr>", str(escape(text))))


def _csv(rows: Sequence[Row]) -> str:
    """A line a bundle; what has several values has them with spaces between."""
    text = io.StringIO()
    names = list(Row.__dataclass_fields__)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(name.rstrip("_") for name in names)  # class_
    for row in rows:
        values = (getattr(row, name) for name in names)
        writer.writerow([" ".join(v) if isinstance(v, tuple) else v for v in values])
    return text.getvalue()


def _bundle(site: Site, pages: Environment, entry: Entry, say: Callable[[str], None]) -> None:
    """The page of a bundle; it stays where nothing that it shows has changed."""
    place, name = site.folder / entry.name, f"{entry.name}.html"
    sums = (place / bundle.SUMS).read_text(encoding="utf-8")
    made_from = digest([code(), sums, entry.name, site.zoo])
    mark = f"<!-- {made_from} -->\n"
    target = site.folder / name
    if target.is_file() and target.read_text(encoding="utf-8").endswith(mark):
        site.kept.append(name)
        return
    text = pages.get_template("bundle.html").render(zoo=site.zoo, entry=entry, **_told(site, entry))
    write(target, text.rstrip() + "\n" + mark)
    site.wrote.append(name)
    say(f"wrote {name}")


def _told(site: Site, entry: Entry) -> dict[str, object]:
    """What a bundle's page shows."""
    place, row = site.folder / entry.name, entry.row
    assert row is not None
    seen = pictures(place)
    card = _text(place / "README.md")
    snippet = re.search(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
    return {
        "facts": [(name, shown) for name, shown in _facts(row) if shown],
        "snippet": snippet[1].rstrip() if snippet else "",
        "drawing": _drawn(seen, row),
        "changes": list(contents.changes(place, 80)),
        "cuts": samples.cuts(place, entry.sources, site.foreign),
        "tables": list(samples.tables(place / bundle.DATASET)),
        "checks": contents.checks(place),
        "expected": list(contents.expected(place)),
        "files": list(_files(place)),
        "pictures": seen,
        "recipe": _text(place / bundle.RECIPE).rstrip(),
        "provenance": _text(place / bundle.MADE).rstrip(),
    }


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    yield "class", row.class_
    yield "task", row.task
    yield "takes", ", ".join(row.modalities)
    yield "layers", ", ".join(row.kinds)
    yield "parameters", f"{row.parameters:,}" if row.parameters else ""
    yield "tokens", f"{row.vocabulary:,}" if row.vocabulary else ""
    yield "rows", f"{row.rows:,}" if row.rows else ""
    yield "tensor parallel", f"up to {row.tensor_parallel}" if row.tensor_parallel else ""
    yield "bytes", f"{row.bytes:,}"
    untried = f", {row.untried} not tried" if row.untried else ""
    yield "checks", f"{row.checks} passed{untried}"
    yield "licence", row.licence


def _drawn(seen: Sequence[Picture], row: Row) -> str:
    if not seen:
        return ""
    shapes = {picture.name: picture.shape for picture in seen}
    return drawing(modules(shapes), f"The modules of {row.class_}")


def _files(place: Path) -> Iterator[tuple[str, str, float]]:
    """(name, bytes, per cent of all), the largest first."""
    files = contents.files(place)
    whole = sum(count for _, count in files) or 1
    for name, count in files:
        yield name, f"{count:,}", round(100 * count / whole, 1)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""
