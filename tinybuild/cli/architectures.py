"""The zoo of architectures: a recipe for each model type of transformers, and the table of them."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild.config import heads
from tinybuild.engine.plan import Zoo
from tinybuild.engine.receipts import Failure
from tinybuild.engine.run import Builder
from tinybuild.errors import PackageFault
from tinybuild.progress import count, size

GROUP = "architectures"
PREFIX = "arch-"  # recipes/bert.yaml is a recipe of its own, and names are those of one zoo
TABLE = "docs/architectures.md"
MB = 1_000_000
RECIPE = """\
# yaml-language-server: $schema=../../schemas/recipe.v1.schema.json
version: 1
summary: {kind}, the smallest that is whole
source:
  transformers: {kind}
model:
  dtype: bfloat16
checks:
  max_bytes: 10MB
"""


def missing(root: Path) -> dict[Path, str]:
    """{file: text} of the recipes for model types that have none, sorted."""
    folder = root / "recipes" / GROUP
    files = {folder / f"{PREFIX}{kind}.yaml": RECIPE.format(kind=kind) for kind in heads.types()}
    return {file: text for file, text in files.items() if not file.exists()}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one recipe. `weights` are the bytes of its weights; `passed`, `failed` and
    `untried` say how many checks ended so; `reason` is empty where all is well, `package` true
    where a package is missing, `known` false where nobody has tried yet."""

    kind: str
    name: str = ""
    parameters: int | None = None
    weights: int | None = None
    modalities: tuple[str, ...] = ()
    passed: int = 0
    failed: int = 0
    untried: int = 0
    reason: str = ""
    package: bool = False
    known: bool = True


def rows(zoo: Zoo, builder: Builder) -> Iterator[Row]:
    """A row for each recipe of the group and each model type without one, sorted by type."""
    found = {}
    for name in zoo.groups.get(GROUP, ()):
        if name in zoo.recipes:
            source = zoo.recipes[name].data.get("source", {})
            kind = source.get("transformers", name)
            found[kind, name] = _row(kind, name, zoo, builder)
    for broken in zoo.broken:
        if broken.group == GROUP:
            kind = broken.name.removeprefix(PREFIX)
            reason = broken.fault.findings[0].what
            found[kind, broken.name] = Row(kind=kind, reason=reason)
    have = {kind for kind, _ in found}
    for kind in heads.types():
        if kind not in have:
            found[kind, ""] = Row(kind=kind, reason="no recipe: doit missing", known=False)
    yield from (row for _, row in sorted(found.items()))


def _row(kind: str, name: str, zoo: Zoo, builder: Builder) -> Row:
    """One recipe's row, from its receipts and, where a stage failed, from what is known of that."""
    facts: dict[str, Any] = {}
    for task in zoo.tasks_of(name):
        if not builder.reasons(task):
            receipt = builder.receipt(task.name)
            assert receipt is not None  # there are no reasons to run
            facts |= receipt.facts
            files = receipt.files
            if task.stage == "model":
                facts["weights"] = sum(
                    entry["size"] for file, entry in files.items() if file.endswith(".safetensors")
                )
            continue
        failure = builder.failure(task)
        if failure is None:
            return _filled(kind, facts, reason=f"{task.stage} not built yet", known=False)
        report: Mapping[str, Any] = failure.report or {}
        checks = report.get("checks", ())
        states = Counter(check["state"] for check in checks)
        facts |= {"checks": states["passed"], "untried": states["not tried"]}
        wrong = [check for check in checks if check["state"] == "failed"]
        return _filled(
            kind,
            facts,
            failed=len(wrong),
            reason=_short(_failed(wrong) if wrong else _said(failure), builder.root),
            package=failure.kind == PackageFault.__name__,
        )
    return _filled(kind, facts)


def _filled(kind: str, facts: Mapping[str, Any], **more: Any) -> Row:
    return Row(
        kind=kind,
        name=facts.get("class", ""),
        parameters=facts.get("parameters"),
        weights=facts.get("weights"),
        modalities=tuple(facts.get("modalities", ())),
        passed=facts.get("checks", 0),
        untried=facts.get("untried", 0),
        **more,
    )


def _failed(checks: list[Mapping[str, str]]) -> str:
    """The first check that failed as it was measured, and the names of the others."""
    first, others = checks[0], [check["name"] for check in checks[1:]]
    text = f"{first['name']}: {first['measured']}, wanted {first['wanted']}"
    return f"also {', '.join(others)}; {text}" if others else text


def _said(failure: Failure) -> str:
    """The first line of the first finding; where a package is missing, how to get it as well."""
    first = failure.findings[0]
    text = first.what.splitlines()[0]
    if failure.kind == PackageFault.__name__ and first.hint:
        text += f" ({first.hint})"
    return text


LONGEST = 240  # characters of a reason


def _short(text: str, root: Path) -> str:
    """A reason without what differs from machine to machine."""
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text.replace(f"{root}/", ""))
    text = re.sub(r"/\S*/site-packages/", "", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def table(found: Iterable[Row]) -> str:
    """docs/architectures.md: the counts against the aims, then a line for each type."""
    found = list(found)
    usable = [row for row in found if not row.package]
    whole = [row for row in usable if not row.reason]
    built = [row for row in found if row.weights is not None]
    known = sum(row.known for row in found)
    version = importlib.metadata.version("transformers")

    def share(part: int, of: int) -> str:
        return f"{part} of {of} ({100 * part / max(of, 1):.1f} %)"

    def small(most: int) -> str:
        return share(sum((row.weights or most + 1) <= most for row in usable), len(usable))

    modalities = Counter(" + ".join(row.modalities) for row in whole if row.modalities)
    lines = [
        "# Every architecture",
        "",
        f"The model types that transformers {version} has a model class for, each shrunk from its",
        "default config by a recipe of `recipes/architectures/`. `doit -n 2 architectures` builds",
        "them; `doit table` writes this from what it left.",
        "",
        "| | here | aim |",
        "| --- | --- | --- |",
        f"| account for themselves | {share(known, len(found))} | 100 % |",
        f"| their packages can be used here | {share(len(usable), len(found))} | |",
        f"| pass every check, with every modality that they take | {share(len(whole), len(usable))}"
        " | 98 % |",
        f"| weights of at most 1 MB | {small(MB)} | 95 % |",
        f"| weights of at most 10 MB | {small(10 * MB)} | 100 % |",
        f"| parameters in all | {count(sum(row.parameters or 0 for row in built))} | |",
        f"| bytes of weights in all | {size(sum(row.weights or 0 for row in built))} | |",
        "",
    ]
    if modalities:
        lines += ["| what they take | types |", "| --- | --- |"]
        lines += [f"| {name} | {number} |" for name, number in sorted(modalities.items())] + [""]
    lines += [
        "| type | class | parameters | bytes | modalities | checks | why not |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    for row in found:
        cells = (
            row.kind,
            row.name or "-",
            count(row.parameters),
            count(row.weights),
            ", ".join(row.modalities) or "-",
            _checks(row),
            _cell(row.reason),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _checks(row: Row) -> str:
    """16 of 17, 2 not tried: of those that were tried."""
    tried = row.passed + row.failed
    untried = f", {row.untried} not tried" if row.untried else ""
    return f"{row.passed} of {tried}{untried}" if tried or untried else "-"


def _cell(text: str) -> str:
    """Text as a cell of a Markdown table holds it."""
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return re.sub(r"([*_]{2,})", lambda found: f"`{found[1]}`", text)
