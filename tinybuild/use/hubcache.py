"""Bundles laid out as a cache of the Hub, so that unmodified code finds them by public names."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.bundle import DATASET
from tinybuild.errors import RecipeFault
from tinybuild.files import below, copy, write

_ID = r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
_ALIAS = re.compile(rf"({_ID})(?:@([A-Za-z0-9][A-Za-z0-9_./-]*))?=([A-Za-z0-9][A-Za-z0-9_.-]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A repository of the Hub, and the bundle that stands for it. revision: beside main."""

    repo: str
    bundle: str
    revision: str = ""

    @classmethod
    def read(cls, text: str) -> Alias:
        """PUBLIC/ID=NAME, or PUBLIC/ID@REVISION=NAME. Raises RecipeFault."""
        found = _ALIAS.fullmatch(text)
        if found is None or text.startswith(("datasets/", "spaces/")) or ".." in text:
            raise RecipeFault.of(
                f"--tiny-as {text} does not name a repository of the Hub and a bundle",
                hint="--tiny-as meta-llama/Llama-3.1-8B=llama, for example",
            )
        return cls(repo=found[1], revision=found[2] or "", bundle=found[3])


def environment(cache: Path, url: str) -> Mapping[str, str]:
    """What libraries must be told, before they are imported, to ask the Hub at `url` alone."""
    online = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1"]))
    told = {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1"}
    rows = {"HF_DATASETS_CACHE": str(cache / "prepared")}  # of earlier runs there may be others
    return {**told, **rows, **dict.fromkeys(online, "0"), "NO_PROXY": direct, "no_proxy": direct}


def lay(aliases: Iterable[Alias], bundles: Path, cache: Path) -> None:
    """Copies the bundle of each alias to where huggingface_hub looks for its snapshot; its rows, if
    it has some, to where it looks for those of a dataset of that name."""
    for alias in aliases:
        source = bundles / alias.bundle
        commit = hashlib.sha1((source / "SHA256SUMS").read_bytes()).hexdigest()
        commit = alias.revision if _COMMIT.fullmatch(alias.revision) else commit
        for kind, folder in (("models", source), ("datasets", source / DATASET)):
            home = cache / f"{kind}--{alias.repo.replace('/', '--')}"
            if not folder.is_dir():
                continue
            for name in below(str(folder)):
                copy(folder / name, home / "snapshots" / commit / name)
            for ref in {"main", alias.revision or "main"} - {commit}:
                write(home / "refs" / ref, commit)
