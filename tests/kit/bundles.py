"""A bundle of a model type's defaults, made by the stages, as validate lays it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild import bundle, model, source, wire
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.workers import Job


def laid(
    root: Path,
    made: tuple[str, str, Mapping[str, Any]],
    section: Mapping[str, Any] | None,
    words: str | None = None,
) -> tuple[Path, dict[str, Any]]:
    """The bundle below `root`, and the facts of its stages: of a model type, its class and
    overrides, with a tokenizer as the section says, of the type or of another (`words`)."""
    kind, name, config = made

    def job(stage: str, settings: Mapping[str, Any], facts: Any, **inputs: Path) -> Job:
        out = root / stage
        out.mkdir()
        return Job(
            task=f"{stage}:x",
            settings=settings,
            inputs=inputs,
            facts=facts,
            root=root,
            out=out,
            seed=0,
        )

    wishes = {"source": {"transformers": kind}}
    if words not in (None, kind):
        wishes["tokenizer"] = {"transformers": str(words)}
    work = job("fetch", {"wishes": wishes, "base": ".", "locks": {}}, {})
    source.fetch(work)
    facts: dict[str, Any] = {}
    if section is not None:
        related = words in (None, kind)
        settings = {"tokenizer": section, "slot": "source" if related else "tokenizer"}
        settings |= {"kind": "transformers", "blank": True, "related": related}
        work_of = job("tokenizer", settings, {}, fetch=work.out)
        facts["tokenizer"] = wire.dump(tokenizer.make(work_of))
    wanted = {"architecture": name, "config": config, "dtype": "float32", "shrink": "none"}
    settings = {"model": wanted, "max_parameters": 10_000_000}
    facts["model"] = wire.dump(model.make(job("model", settings, facts, fetch=work.out)))
    packed = root / "packed"
    packed.mkdir()
    bundle.lay({stage: root / stage for stage in facts}, packed, facts["model"]["length"])
    return packed, facts
