"""A recipe that makes an existing tiny model's shape from its full-size source."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tinybuild import wire
from tinybuild.artefact.place import repository
from tinybuild.artefact.shape import Imported
from tinybuild.errors import BuildFault
from tinybuild.paths import Json
from tinybuild.source import KINDS, kind_of
from tinybuild.workers import Job, Limits, Pool

ALLOWED = 50_000_000  # parameters of a recipe that does not say how many
LIMITS = Limits(seconds=300)
SEED = "its weights: another seed, or another program, drew them"


@dataclass(frozen=True, kw_only=True)
class Import:
    """A recipe's text, what was seen of the tiny model, and what cannot be known."""

    text: str
    seen: Imported
    unknown: tuple[str, ...]


def name_of(named: str) -> str:
    """The name of a recipe for a tiny model: that of its folder or repository."""
    last = os.path.abspath(named).rpartition("/")[2].partition("@")[0]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-._") or "tiny"


def recipe(tiny: str, full: str, root: Path, pool: Pool) -> Import:
    """The recipe for a tiny model, a folder below `root` or a repository; `full` may also be a
    model type of transformers. Raises Fault."""
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as scratch:
        aside = Path(scratch).resolve()
        places = {"tiny": tiny, "full": full}
        for slot, named in places.items():
            wish = _wish(named, root, root, types=slot == "full")
            _fetch(wish, aside / slot, root, pool)
        job = Job(
            task="import:shape",
            settings={},
            inputs={slot: aside / slot for slot in places},
            facts={},
            root=aside,
            out=aside,
            seed=0,
        )
        told = pool.call("tinybuild.artefact.shape:read", job, LIMITS, "warm")
    seen = wire.load(Imported, told)
    wish = _wish(full, root, root / "recipes", types=True)
    text = f"# What tells {tiny} from {full}.\n" + yaml.safe_dump(
        dict(sections(seen, wish, f"the shape of {name_of(tiny)}")),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return Import(text=text, seen=seen, unknown=(*seen.unknown, SEED))


def _wish(named: str, root: Path, base: Path, *, types: bool) -> dict[str, Json]:
    """A source as a recipe in the folder `base` says it. types: whether it may be a model type."""
    if (root / named).is_dir():
        return {"path": os.path.relpath(root / named, base)}
    if (wanted := repository(named)) and not (root / named).exists():
        revision: dict[str, Json] = {"revision": wanted.revision}
        return {"hub": wanted.repo, **(revision if wanted.revision != "main" else {})}
    if types and re.fullmatch(r"[a-z0-9_.-]+", named):
        return {"transformers": named}
    more = ", or a model type such as llama" if types else ""
    hint = f"give a folder, or a repository of the Hub: OWNER/NAME{more}"
    there = "is not a folder" if (root / named).exists() else "is not there"
    raise BuildFault.of(f"{named} {there}", hint=hint)


def _fetch(wish: dict[str, Json], out: Path, root: Path, pool: Pool) -> None:
    """Config and tokenizer files, without weights, in out/source."""
    out.mkdir()
    job = Job(
        task="import:fetch",
        settings={"wishes": {"source": wish}, "base": ".", "locks": {}},
        inputs={},
        facts={},
        root=root,
        out=out,
        seed=0,
    )
    on_hub = KINDS[kind_of(wish)].on_hub
    pool.call("tinybuild.source:fetch", job, LIMITS, "online" if on_hub else "warm")


def sections(seen: Imported, wish: dict[str, Json], summary: str) -> Iterator[tuple[str, object]]:
    yield "version", 1
    yield "summary", summary
    yield "source", wish
    if seen.tokenizer and seen.vocabulary is not None:
        kept = seen.vocabulary == seen.of_source and "transformers" not in wish
        yield "tokenizer", {"method": "keep"} if kept else {"vocab_size": seen.vocabulary}
    model: dict[str, object] = {"architecture": seen.class_, "shrink": "none"}
    model |= {"config": dict(seen.overrides)} if seen.overrides else {}
    model |= {"dtype": seen.dtype} if seen.dtype else {}
    yield "model", model
    if seen.parameters > ALLOWED:
        yield "checks", {"max_parameters": seen.parameters}
