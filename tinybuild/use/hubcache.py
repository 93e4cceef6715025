"""Bundles laid out as a cache of the Hub, so that unmodified code finds them by public names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.errors import RecipeFault
from tinybuild.files import below, copy, write

_ID = r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
_ALIAS = re.compile(rf"({_ID})(?:@([A-Za-z0-9][A-Za-z0-9_./-]*))?=([A-Za-z0-9][A-Za-z0-9_.-]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A model of the Hub, and the bundle that stands for it. revision: beside main."""

    repo: str
    bundle: str
    revision: str = ""

    @classmethod
    def read(cls, text: str) -> Alias:
        """PUBLIC/ID=NAME, or PUBLIC/ID@REVISION=NAME. Raises RecipeFault."""
        found = _ALIAS.fullmatch(text)
        if found is None or text.startswith(("datasets/", "spaces/")) or ".." in text:
            raise RecipeFault.of(
                f"--tiny-as {text} does not name a model of the Hub and a bundle",
                hint="--tiny-as meta-llama/Llama-3.1-8B=llama, for example",
            )
        return cls(repo=found[1], revision=found[2] or "", bundle=found[3])


def environment(cache: Path) -> Mapping[str, str]:
    """What libraries must be told, before they are imported, to look nowhere else."""
    offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return {"HF_HUB_CACHE": str(cache), **dict.fromkeys(offline, "1")}


def lay(aliases: Iterable[Alias], bundles: Path, cache: Path) -> None:
    """Copies the bundle of each alias to where huggingface_hub looks for its snapshot."""
    for alias in aliases:
        home = cache / f"models--{alias.repo.replace('/', '--')}"
        source = bundles / alias.bundle
        commit = hashlib.sha1((source / "SHA256SUMS").read_bytes()).hexdigest()
        commit = alias.revision if _COMMIT.fullmatch(alias.revision) else commit
        for name in below(str(source)):
            copy(source / name, home / "snapshots" / commit / name)
        for ref in {"main", alias.revision or "main"} - {commit}:
            write(home / "refs" / ref, commit)
