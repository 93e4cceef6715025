"""A bundle as the Hub has it: downloaded whole, unless it is ours to the byte."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybuild import bundle, wire
from tinybuild.artefact.place import Wanted, download
from tinybuild.files import copy, put, remove, sha256
from tinybuild.source.hub import ask
from tinybuild.source.refusal import Address
from tinybuild.workers import Job

State = Literal["missing", "same", "here"]
HIDDEN = ".gitattributes"  # the Hub's own


@dataclass(frozen=True, kw_only=True)
class Published:
    """A repository that a bundle is published to. sums: sha256 of our SHA256SUMS, of a whole
    bundle. Of a dataset repository only the dataset is compared."""

    repo: str
    noun: Literal["model", "dataset"]
    sums: str


def fetch(job: Job) -> dict[str, State]:
    """The bundle of a repository, laid into the job's folder; what became of it. Raises
    SourceFault."""
    from huggingface_hub import HfApi, hf_hub_download

    asked, api = job.asked(Published), HfApi()
    address = Address(repo=asked.repo, noun=asked.noun)
    if not ask(address, lambda: api.repo_exists(asked.repo, repo_type=asked.noun)):
        return {"state": "missing"}
    if ask(address, lambda: api.file_exists(asked.repo, bundle.SUMS, repo_type=asked.noun)):
        get = functools.partial(
            hf_hub_download,
            *(asked.repo, bundle.SUMS),
            repo_type=asked.noun,
            local_dir=job.out,
        )
        if sha256(ask(address, get, bundle.SUMS)) == asked.sums:
            return {"state": "same"}
    wanted = Wanted(repo=asked.repo, noun=asked.noun, revision="main")
    inside = job.out / bundle.DATASET if asked.noun == "dataset" else job.out
    inside.mkdir(exist_ok=True)
    download(Job(**{**vars(job), "settings": wire.dump(wanted), "out": inside}))
    _keep_ours(inside)
    if inside != job.out:
        _lift(inside, job.out)
    return {"state": "here"}


def _keep_ours(folder: Path) -> None:
    """Remove what the repository holds beside the bundle, as its SHA256SUMS lists that."""
    remove(folder / HIDDEN)
    if (folder / bundle.SUMS).is_file():
        lines = (folder / bundle.SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
        ours = {bundle.SUMS, *(line.partition("  ")[2] for line in lines)}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.relative_to(folder).as_posix() not in ours:
                remove(path)


def _lift(dataset: Path, folder: Path) -> None:
    """Put recipe and lock of a dataset's repository where they are in a bundle."""
    if (dataset / bundle.RECIPE).is_file():
        copy(dataset / bundle.RECIPE, folder / bundle.RECIPE)
    for name in (bundle.LOCK, bundle.SUMS):
        remove(folder / name)
        if (dataset / name).is_file():
            put(dataset / name, folder / name)
