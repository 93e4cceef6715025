"""A folder becomes a bundle: the card, the checksums and the archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import tinybuild
from tinybuild import bundle, corpus, statement, wire
from tinybuild.errors import BuildFault
from tinybuild.expected import format as expected
from tinybuild.facts import DatasetFacts, FetchShown, ModelShown, PackFacts, TokenizerShown
from tinybuild.files import archive, copy, digest, pretty, sha256, tree
from tinybuild.modules import modules, picture
from tinybuild.pack.card import card
from tinybuild.pack.told import Changed, Checked, Places, Told
from tinybuild.paths import Data
from tinybuild.tensors import shapes
from tinybuild.workers import Job


@dataclass(frozen=True, kw_only=True)
class Local:
    """A source that was read where it is: the recipe's wish, and what a card says of it."""

    wish: Mapping[str, object]
    credit: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """recipe: the digest of its text. local: by slot. given: whether the vocabulary stands in the
    recipe. places: what the recipe says of publishing, and zoo what of it the whole zoo says.
    text: the part of the corpus that the vocabulary was learned from; "" for another text."""

    name: str
    summary: str
    recipe: str
    local: Mapping[str, Local]
    given: bool
    places: Places = field(default_factory=Places)
    zoo: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


def make(job: Job) -> PackFacts:
    """The pack stage: NAME/ (what from_pretrained and load_dataset load) and NAME.tar.gz.

    Inputs: recipe (the file), validate, and fetch, dataset, tokenizer and model as far as the
    recipe has them.
    """
    settings, dataset = job.asked(Settings), job.find("dataset", DatasetFacts)
    model = job.find("model", ModelShown)
    folder = job.out / settings.name
    folder.mkdir()
    bundle.lay(job.inputs, folder, model.length if model else None)
    for name in ("report.json", *expected.FILES):
        if (job.inputs["validate"] / name).is_file():
            copy(job.inputs["validate"] / name, folder / name)
    text = job.inputs["recipe"].read_bytes().decode("utf-8-sig")
    if digest(text) != settings.recipe:
        raise BuildFault.of("the recipe was edited while it was built", hint="run it again")
    homes = [folder, *([folder / bundle.DATASET] if dataset is not None else [])]
    for home in homes:  # a dataset may be taken away by itself
        (home / bundle.RECIPE).write_text(text, encoding="utf-8", newline="")
    fetched = job.find("fetch", FetchShown) or FetchShown(pins={}, credits={})
    pins = {**fetched.pins, **_local(settings, dataset)}
    lock = cast("Data", {"version": 1, "pins": pins})
    (folder / bundle.LOCK).write_text(pretty(lock), encoding="utf-8")
    _made_from(job, folder)
    _home(folder, settings.places.dataset_repo)
    drawn = _drawn(folder, model)
    report = bundle.data(folder / "report.json")
    told = Told(
        name=settings.name,
        summary=settings.summary,
        recipe=text,
        given=settings.given,
        credits=_credits(fetched, settings),
        model=model,
        tokenizer=job.find("tokenizer", TokenizerShown),
        dataset=dataset,
        checks=tuple(
            Checked(name=check["name"], state=check["state"], note=check["note"])
            for check in report["checks"]
        ),
        changed=tuple(_changed(folder)),
        languages=corpus.languages(settings.text) if settings.text else (),
        places=settings.places,
        versions=_versions(report["checks"]),
        bytes=bundle.size(folder),
        drawn=drawn,
        expected=expected.has(folder),
    )
    (folder / "README.md").write_text(card(told), encoding="utf-8")
    _seal(folder, statement.Asked(recipe=settings.name, zoo=settings.zoo), job, lock)
    tar = archive(folder, job.out / f"{settings.name}.tar.gz", settings.name)
    return PackFacts(bytes=bundle.size(folder), tar=tar)


def _drawn(folder: Path, model: ModelShown | None) -> bool:
    """Draw the model, where its tensors can be listed without loading them."""
    held = shapes(folder)
    if model is None or not held:
        return False
    drawing = picture(modules(held), f"The modules of {model.class_}")
    (folder / bundle.DRAWING).write_text(drawing, encoding="utf-8")
    return True


def _home(folder: Path, repo: str) -> None:
    """Let the card of the dataset load it from its repository, where it has one."""
    path = folder / bundle.DATASET / "README.md"
    if repo and path.is_file():
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(f'"{bundle.HERE}"', f'"{repo}"'), encoding="utf-8")


def _changed(folder: Path) -> Iterator[Changed]:
    """What differs from the source's config, as the model stage tells it."""
    for one in bundle.data(folder / "config_changes.json").get("changes", ()):
        before, after = one.get("from"), one.get("to")
        yield Changed(key=one["key"], before=before, after=after, reason=one["reason"])


def _credits(fetched: FetchShown, settings: Settings) -> dict[str, Mapping[str, str]]:
    """slot -> what a card says of its source: also what the pin knows of its licence."""
    credits = {**fetched.credits, **{slot: one.credit for slot, one in settings.local.items()}}
    for slot, pin in fetched.pins.items():
        known = pin if isinstance(pin, Mapping) else {}
        kept = {key: str(known[key]) for key in ("license", "language") if known.get(key)}
        credits[slot] = {**kept, **credits.get(slot, {})}
    return credits


def _made_from(job: Job, folder: Path) -> None:
    """Recipe and lock of the recipes that it was made from, which a rebuild wants as well."""
    for need, laid in job.inputs.items():
        top, _, other = need.partition("/")
        for name, path in bundle.makings(laid / other, other) if top == bundle.RECIPES else ():
            copy(path, folder / bundle.RECIPES / name)


def _seal(folder: Path, asked: statement.Asked, job: Job, lock: Data) -> None:
    """How it was made, with the digests of all files, and then those of all files."""
    toolchain = {name: str(version) for name, version in job.versions.items() if version}
    toolchain["tinybuild"] = tinybuild.__version__
    sums = {path: str(entry["sha256"]) for path, entry in tree(folder).items()}
    made = folder / bundle.MADE
    made.write_text(pretty(statement.write(sums, asked, toolchain, lock)), encoding="utf-8")
    sums[bundle.MADE] = sha256(made)
    lines = "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))
    (folder / bundle.SUMS).write_text(lines, encoding="utf-8")


def _versions(checks: Sequence[Mapping[str, Any]]) -> str:
    """The least version of transformers that the report names, and why; "" where it names none."""
    for check in checks:
        if check["name"] == "least_version":
            why = f": {check['note']}" if check["note"] else ""
            return f"{check['values']['transformers']} or later{why}"
    return ""


def _local(settings: Settings, dataset: DatasetFacts | None) -> dict[str, object]:
    """slot -> the pin of a source that was read where it is: only datasets are."""
    if dataset is None:
        return {}
    files = wire.dump(dataset.source.files)
    return {slot: {"wish": one.wish, "files": files} for slot, one in settings.local.items()}
