"""Where a bundle lies: a folder of this machine, or a repository of the Hub."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybuild import wire
from tinybuild.errors import BuildFault
from tinybuild.files import inside, remove
from tinybuild.source.hub import ask
from tinybuild.source.refusal import Address
from tinybuild.workers import Job, Pool

LARGEST = 2_000_000_000  # bytes of a whole bundle; the largest of this zoo has 40 MB
_REPO = re.compile(r"(datasets/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A repository of the Hub to download."""

    repo: str
    noun: Literal["model", "dataset"]
    revision: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a bundle's files are now. commit: of a repository."""

    folder: Path
    shown: str
    commit: str = ""


def repository(named: str) -> Wanted | None:
    """What a word such as owner/name, datasets/owner/name or owner/name@v1 stands for."""
    match = _REPO.fullmatch(named)
    if match is None:
        return None
    noun: Literal["model", "dataset"] = "dataset" if match[1] else "model"
    return Wanted(repo=match[2], noun=noun, revision=match[3] or "main")


@contextlib.contextmanager
def found(named: str, root: Path, pool: Pool) -> Iterator[Found]:
    """A recipe's bundle by its name, a folder below `root` (./NAME where a bundle is called
    so), or a repository: that is downloaded, and gone at the end. Raises Fault."""
    places = (root / "dist" / named, root / named)
    for place in places if os.path.basename(named) == named else reversed(places):
        if place.is_dir():
            yield Found(folder=place, shown=os.path.relpath(place, root))
            return
    hint = "give a folder, such as dist/NAME, or a repository of the Hub: OWNER/NAME"
    if (root / named).exists():
        raise BuildFault.of(f"{named} is not a folder", hint=hint)
    wanted = repository(named)
    if wanted is None:
        raise BuildFault.of(f"there is no folder {named}", hint=hint)
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as aside:
        folder = Path(aside).resolve() / wanted.repo.partition("/")[2]
        folder.mkdir()
        job = Job(
            task=f"download:{wanted.repo}",
            settings=wire.dump(wanted),
            inputs={},
            facts={},
            root=folder,
            out=folder,
            seed=0,
        )
        told = pool.call("tinybuild.artefact.place:download", job, sort="online")
        yield Found(folder=folder, shown=named, commit=told["commit"])


def download(job: Job) -> dict[str, str]:
    """All files of a repository at one commit, into the job's folder. Raises SourceFault."""
    from huggingface_hub import HfApi, hf_hub_download

    wanted, api = job.asked(Wanted), HfApi()
    address = Address(repo=wanted.repo, noun=wanted.noun, revision=wanted.revision)
    info = ask(
        address,
        lambda: api.repo_info(
            wanted.repo, repo_type=wanted.noun, revision=wanted.revision, files_metadata=True
        ),
    )
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if sum(sizes.values()) > LARGEST:
        what = f"{wanted.repo} has {sum(sizes.values()):,} bytes; a bundle has at most {LARGEST:,}"
        raise address.fault(what)
    for name in sizes:
        inside(job.out, name)
        get = functools.partial(
            hf_hub_download,
            *(wanted.repo, name),
            repo_type=wanted.noun,
            revision=str(info.sha),
            local_dir=job.out,
        )
        ask(address, get, name)
    remove(job.out / ".cache")  # the client's own
    return {"commit": str(info.sha)}
