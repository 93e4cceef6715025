"""Bundles laid out as a cache of the Hub, so that unmodified code finds them by public names."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.bundle import DATASET
from tinybuild.errors import RecipeFault, did_you_mean
from tinybuild.files import below, copy, pretty, write

ADAPTERS = "adapters"  # in a bundle: a folder for each, in the layout of PEFT

_ID = r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_ALIAS = re.compile(
    rf"({_ID})(?:@([A-Za-z0-9][A-Za-z0-9_./-]*))?=({_NAME})(?:/{ADAPTERS}/({_NAME}))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A repository of the Hub, and what stands for it: a bundle, or an adapter of it. revision:
    beside main."""

    repo: str
    bundle: str
    revision: str = ""
    adapter: str = ""

    @classmethod
    def read(cls, text: str) -> Alias:
        """PUBLIC/ID=NAME, PUBLIC/ID@REVISION=NAME, or with NAME/adapters/ADAPTER. Raises
        RecipeFault."""
        found = _ALIAS.fullmatch(text)
        if found is None or text.startswith(("datasets/", "spaces/")) or ".." in text:
            raise RecipeFault.of(
                f"--tiny-as {text} does not name a repository of the Hub and a bundle",
                hint="--tiny-as meta-llama/Llama-3.1-8B=llama, for example",
            )
        revision, adapter = found[2] or "", found[4] or ""
        return cls(repo=found[1], revision=revision, bundle=found[3], adapter=adapter)


def environment(cache: Path, url: str) -> Mapping[str, str]:
    """What libraries must be told, before they are imported, to ask the Hub at `url` alone."""
    online = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1"]))
    told = {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1"}
    rows = {"HF_DATASETS_CACHE": str(cache / "prepared")}  # of earlier runs there may be others
    rows |= {"HF_UPDATE_DOWNLOAD_COUNTS": "0"}  # else load_dataset tells another host of each load
    return {**told, **rows, **dict.fromkeys(online, "0"), "NO_PROXY": direct, "no_proxy": direct}


def lay(aliases: Iterable[Alias], bundles: Path, cache: Path) -> None:
    """Copies the bundle of each alias to where huggingface_hub looks for its snapshot; its rows, if
    it has some, to where it looks for those of a dataset of that name. Raises RecipeFault."""
    given = [*aliases]
    whole = {alias.bundle: alias.repo for alias in reversed(given) if not alias.adapter}
    plain = {alias.repo for alias in given if not alias.revision}
    for alias in given:
        source, name = bundles / alias.bundle, alias.repo.replace("/", "--")
        commit = hashlib.sha1((source / "SHA256SUMS").read_bytes()).hexdigest()
        commit = alias.revision if _COMMIT.fullmatch(alias.revision) else commit
        refs = {alias.revision or "main", *(() if alias.repo in plain else ("main",))} - {commit}
        folder = _adapter(source, alias.adapter) if alias.adapter else source
        snapshot = _copied(folder, cache / f"models--{name}", commit, refs)
        if alias.adapter:
            _base(snapshot / "adapter_config.json", whole.get(alias.bundle))
        elif (source / DATASET).is_dir():
            _copied(source / DATASET, cache / f"datasets--{name}", commit, refs)


def _copied(folder: Path, home: Path, commit: str, refs: Iterable[str]) -> Path:
    """The snapshot of a repository, whose files are those of a folder."""
    for name in below(str(folder)):
        copy(folder / name, home / "snapshots" / commit / name)
    for ref in refs:
        write(home / "refs" / ref, commit)
    return home / "snapshots" / commit


def _adapter(bundle: Path, name: str) -> Path:
    folder = bundle / ADAPTERS / name
    if not folder.is_dir():
        have = sorted(path.name for path in (bundle / ADAPTERS).glob("*"))
        what = f"the bundle {bundle.name} has no adapter {name}"
        raise RecipeFault.of(what, hint=did_you_mean(name, have))
    return folder


def _base(config: Path, repo: str | None) -> None:
    """In a bundle an adapter names no base: it lies in it. A repository of its own names one."""
    told = json.loads(config.read_text(encoding="utf-8"))
    write(config, pretty({**told, "base_model_name_or_path": repo}))
