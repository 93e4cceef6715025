"""The zoo of architectures: a recipe for each model type of transformers, and the table of them."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tinybuild import errors, wire
from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session
from tinybuild.config import heads
from tinybuild.engine.plan import Zoo
from tinybuild.engine.receipts import Failure
from tinybuild.engine.run import Builder
from tinybuild.engine.stages import Task
from tinybuild.errors import PackageFault
from tinybuild.facts import ModelFacts, TokenizerFacts, ValidateFacts
from tinybuild.files import write
from tinybuild.progress import count, size
from tinybuild.source import blank_tokenizer

GROUP = "architectures"
PREFIX = "arch-"  # recipes/bert.yaml is a recipe of its own, and names are those of one zoo
TABLE = "docs/architectures.md"
MB = 1_000_000
FEW = 500_000  # parameters
CLIENT = "from_bundle"  # the check of what a user does with a bundle alone
RECIPE = """\
# yaml-language-server: $schema=../../schemas/recipe.v1.schema.json
version: 1
summary: {0}, the smallest that is whole
source:
  transformers: {0}
{1}model:
  dtype: bfloat16
checks:
  max_bytes: 10MB
"""

WORDS = """\
tokenizer:
  vocab_size: 500
"""


def recipe(model_type: str) -> str:
    """The text of a type's recipe: with a tokenizer where it reads or writes text, and one can be
    had of its family."""
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]()
    words = heads.speaks(model_type) and blank_tokenizer(model_type, config) is not None
    return RECIPE.format(model_type, WORDS if words else "")


def missing(root: Path) -> dict[Path, str]:
    """{file: text} of the recipes for model types that have none, sorted."""
    folder = root / "recipes" / GROUP
    files = {folder / f"{PREFIX}{name}.yaml": name for name in heads.types()}
    return {file: recipe(name) for file, name in files.items() if not file.exists()}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one recipe. `weights` are the bytes of its weights; `passed`, `failed` and
    `untried` say how many checks ended so; `reason` is empty where all is well, `package` true
    where a package is missing, `known` false where nobody has tried yet. `tokens`: of the
    tokenizer. `client`: how the check `from_bundle` ended, "" where there is nothing to use.
    `given_up`: what of the source could not be kept, and why."""

    model_type: str
    name: str = ""
    parameters: int | None = None
    weights: int | None = None
    modalities: tuple[str, ...] = ()
    tokens: int | None = None
    client: str = ""
    passed: int = 0
    failed: int = 0
    untried: int = 0
    reason: str = ""
    package: bool = False
    known: bool = True
    given_up: Mapping[str, str] = field(default_factory=dict)


def rows(zoo: Zoo, builder: Builder) -> Iterator[Row]:
    """A row for each recipe of the group and each model type without one, sorted by type."""
    told: dict[tuple[str, str], Row] = {}
    for name in zoo.groups.get(GROUP, ()):
        if name in zoo.recipes:
            model_type = zoo.recipes[name].data.get("source", {}).get("transformers", name)
            told[model_type, name] = _row(Row(model_type=model_type), name, zoo, builder)
    for broken in zoo.broken:
        if broken.group == GROUP:
            model_type = broken.name.removeprefix(PREFIX)
            reason = broken.fault.findings[0].what
            told[model_type, broken.name] = Row(model_type=model_type, reason=reason)
    have = {model_type for model_type, _ in told}
    for model_type in set(heads.types()) - have:
        reason = "no recipe: doit missing"
        told[model_type, ""] = Row(model_type=model_type, reason=reason, known=False)
    yield from (row for _, row in sorted(told.items()))


def _row(row: Row, name: str, zoo: Zoo, builder: Builder) -> Row:
    """One recipe's row, from its receipts and, where a stage failed, from what is known of that."""
    for task in zoo.tasks_of(name):
        if builder.reasons(task):
            return _stopped(row, task, builder)
        receipt = builder.receipt(task.name)
        assert receipt is not None  # there are no reasons to run
        if task.stage == "tokenizer":
            tokens = wire.load(TokenizerFacts, receipt.facts).vocab_size
            row = dataclasses.replace(row, tokens=tokens)
        elif task.stage == "model":
            model = wire.load(ModelFacts, receipt.facts)
            row = dataclasses.replace(
                row,
                name=model.class_,
                parameters=model.parameters,
                modalities=model.modalities,
                weights=sum(
                    entry["size"]
                    for file, entry in receipt.files.items()
                    if file.endswith(".safetensors")
                ),
            )
        elif task.stage == "validate":
            validated = wire.load(ValidateFacts, receipt.facts)
            row = dataclasses.replace(
                row,
                passed=validated.checks,
                untried=validated.untried,
                client=validated.from_bundle,
                given_up=validated.given_up,
            )
    return row


def _stopped(row: Row, task: Task, builder: Builder) -> Row:
    """A row that ends at a task that failed, or that nobody has done."""
    failure = builder.failure(task)
    if failure is None:
        return dataclasses.replace(row, reason=f"{task.stage} not built yet", known=False)
    checks = cast("Sequence[Mapping[str, str]]", (failure.report or {}).get("checks", ()))
    states = Counter(check["state"] for check in checks)
    wrong = [check for check in checks if check["state"] == "failed"]
    return dataclasses.replace(
        row,
        passed=states["passed"],
        failed=states["failed"],
        untried=states["not tried"],
        client=next((check["state"] for check in checks if check["name"] == CLIENT), ""),
        reason=_short(_failed(wrong) if wrong else _said(failure), builder.root),
        package=failure.kind == PackageFault.__name__,
    )


def _failed(checks: Sequence[Mapping[str, str]]) -> str:
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


def table(rows: Iterable[Row]) -> str:
    """docs/architectures.md: the counts against the aims, then a line for each type."""
    rows = list(rows)
    usable = [row for row in rows if not row.package]
    whole = [row for row in usable if not row.reason]
    kept = [row for row in whole if not row.given_up]
    used = [row for row in usable if _used(row) != "-"]
    alone = [row for row in used if _used(row) == "works"]
    built = [row for row in rows if row.weights is not None]
    known = sum(row.known for row in rows)
    few = sum((row.parameters or FEW + 1) <= FEW for row in usable)
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
        beside_torch() + beside_that(),
        "",
        "| | here | aim |",
        "| --- | --- | --- |",
        f"| account for themselves | {share(known, len(rows))} | 100 % |",
        f"| their packages can be used here | {share(len(usable), len(rows))} | |",
        f"| pass every check, with every modality that they take | {share(len(whole), len(usable))}"
        " | 98 % |",
        f"| work from the bundle alone, of those that read text or have a processor"
        f" | {share(len(alone), len(used))} | 98 % |",
        f"| differ wherever their source does | {share(len(kept), len(whole))} | 97 % |",
        f"| at most {count(FEW)} parameters: 1 MB in bfloat16 | {share(few, len(usable))} | 95 % |",
        f"| weights of at most 1 MB, as they are saved | {small(MB)} | |",
        f"| weights of at most 10 MB | {small(10 * MB)} | 100 % |",
        f"| parameters in all | {count(sum(row.parameters or 0 for row in built))} | |",
        f"| bytes of weights in all | {size(sum(row.weights or 0 for row in built))} | |",
        "",
    ]
    if modalities:
        lines += ["| what they take | types |", "| --- | --- |"]
        lines += [f"| {name} | {number} |" for name, number in sorted(modalities.items())] + [""]
    lines += [
        "| type | class | parameters | bytes | modalities | tokens | alone | checks | why not |",
        "| --- | --- | ---: | ---: | --- | ---: | --- | --- | --- |",
    ]
    for row in rows:
        cells = (
            row.model_type,
            row.name or "-",
            count(row.parameters),
            count(row.weights),
            ", ".join(row.modalities) or "-",
            count(row.tokens),
            _used(row),
            _checks(row),
            _cell(row.reason),
        )
        lines.append(f"| {' | '.join(cells)} |")
    given_up = [(row.model_type, *item) for row in rows for item in sorted(row.given_up.items())]
    if given_up:
        lines += ["", "What of a source could not be kept, and why:", ""]
        lines += ["| type | what | why |", "| --- | --- | --- |"]
        lines += [f"| {' | '.join(map(_cell, cells))} |" for cells in given_up]
    return "\n".join(lines) + "\n"


def beside_torch() -> str:
    """Which torchvision there was for the processors of images and videos, and what of it ran."""
    there = errors.version("torchvision")
    if not there:
        return "torchvision was not there: what needs it is not tried."
    try:
        compiled: bool = importlib.import_module("torchvision.extension")._has_ops()
    except (ImportError, OSError, RuntimeError, AttributeError):
        return f"torchvision {there} did not load: what needs it is not tried."
    ran = "" if compiled else ", without its compiled part (operations on boxes, decoders of files)"
    return f"Processors ran with torchvision {there}{ran}."


def beside_that() -> str:
    """Which packages of the extra `architectures` there were, by name and version."""
    told = importlib.metadata.requires("tinybuild-models") or ()
    wanted = (re.match(r"[\w.-]+", one) for one in told if re.search(f"extra == .{GROUP}.", one))
    there = [f"{name[0]} {found}" for name in wanted if name and (found := errors.version(name[0]))]
    return f" Beside it were {', '.join(there)}." if there else ""


def _used(row: Row) -> str:
    """What a client can do with the bundle alone; "-" where it has nothing to use."""
    if row.tokens is None and "text" in row.modalities:
        return "no tokenizer"
    return {"passed": "works", "": "-"}.get(row.client, row.client)


def _checks(row: Row) -> str:
    """16 of 17, 2 not tried: of those that were tried."""
    tried = row.passed + row.failed
    untried = f", {row.untried} not tried" if row.untried else ""
    return f"{row.passed} of {tried}{untried}" if tried or untried else "-"


def _cell(text: str) -> str:
    """Text as a cell of a Markdown table holds it."""
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return re.sub(r"([*_]{2,})", lambda marks: f"`{marks[1]}`", text)


def _missing(here: Session, words: Sequence[str], options: Options) -> Lines:
    files = missing(here.root)
    for file, text in files.items():
        write(file, text)
        yield f"wrote {here.shown(file)}"
    if not files:
        yield "every model type has its recipe"
    return Answer(data={"wrote": [here.shown(file) for file in files]})


WRITE_MISSING = Command(
    doc="write a recipe for each model type of transformers that recipes/architectures/ lacks",
    do=_missing,
    words="",
    group="zoo",
)


def _table(here: Session, words: Sequence[str], options: Options) -> Lines:
    text = table(rows(here.zoo, here.builder))
    write(here.root / TABLE, text)
    yield f"wrote {TABLE}"
    return Answer(data={"wrote": [TABLE]})


WRITE_TABLE = Command(
    doc="write docs/architectures.md: what became of each architecture",
    do=_table,
    words="",
    group="zoo",
)
