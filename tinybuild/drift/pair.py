"""A repository of the Hub at two commits: the locked one, and what its revision is at now."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.drift.moved import Question
from tinybuild.files import sha256
from tinybuild.source import Pin, Wish
from tinybuild.source.hub import ask
from tinybuild.source.pins import LARGEST, Listed

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo


@dataclass(frozen=True, kw_only=True)
class Head:
    """What one request tells of a repository at a revision: commit, files, and facts of its own
    (license, gated)."""

    commit: str
    files: Mapping[str, Listed]
    facts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of the Hub: a pin and its wish, which both know the repository."""

    wish: Wish
    pin: Pin

    @classmethod
    def of(cls, question: Question) -> Asked:
        pin = Pin.read(question.pin)
        wish = Wish(slot=question.slot, kind="hub", data=pin.wish, base=Path())
        return cls(wish=wish, pin=pin)

    @property
    def dataset(self) -> bool:
        return self.wish.slot == "dataset"

    @property
    def revision(self) -> str:
        return self.wish.text("revision", "main")

    @property
    def commit(self) -> str:
        return self.pin.facts["commit"]


def head(asked: Asked, revision: str) -> Head:
    """Raises SourceFault."""
    from huggingface_hub import HfApi

    repo, api = asked.wish.text(), HfApi()
    get: Any = api.dataset_info if asked.dataset else api.model_info
    info = ask(asked.wish, lambda: get(repo, revision=revision, files_metadata=True))
    files = {
        file.rfilename: Listed(
            size=file.size or 0, oid=file.lfs.sha256 if file.lfs else file.blob_id or ""
        )
        for file in info.siblings or ()
    }
    return Head(commit=str(info.sha), files=files, facts=facts(info))


def facts(info: ModelInfo | DatasetInfo) -> dict[str, str]:
    """What a repository says of who may use it: `gated` is no, auto or manual."""
    said = info.card_data or {}
    license_, name = said.get("license"), said.get("license_name")
    if isinstance(license_, list):
        license_ = ", ".join(map(str, license_))
    told = {"gated": str(info.gated or "no")}
    if license_:
        told["license"] = f"{license_} ({name})" if name and license_ == "other" else str(license_)
    return told


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A repository at the locked commit and now. old: None where that commit is gone. folder: one
    for what is fetched of both. unread: takes what cannot be said."""

    asked: Asked
    old: Head | None
    new: Head
    folder: Path
    unread: list[str] = field(default_factory=list)

    def changed(self, name: str) -> bool:
        """Whether a file is not the same on both sides."""
        locked, now = self.asked.pin.files.get(name), self.new.files.get(name)
        if self.old is not None:
            return self.old.files.get(name) != now
        if locked is None or now is None:
            return (locked is None) != (now is None)
        if locked.whole is not None:
            return locked.whole != now
        path = self.get(self.new.commit, name)
        return path is None or sha256(path) != locked.sha256

    def get(self, commit: str, name: str) -> Path | None:
        """A file at one of the commits, from the cache of the Hub's client or fetched to a folder
        that does not stay; None where it is not there, too large, or gone with its commit."""
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        repo, kind = self.asked.wish.text(), "dataset" if self.asked.dataset else "model"
        cached = try_to_load_from_cache(repo, name, revision=commit, repo_type=kind)
        if isinstance(cached, str):
            return Path(cached)
        head = self.new if commit == self.new.commit else self.old
        listed = head.files.get(name) if head is not None else None
        if listed is None:
            return None
        if listed.size > LARGEST:
            self.unread.append(f"{name} has {listed.size:,} bytes and was not looked at")
            return None
        download = functools.partial(hf_hub_download, repo, name, revision=commit, repo_type=kind)
        return Path(ask(self.asked.wish, lambda: download(cache_dir=self.folder / "cache")))

    def sides(self, name: str) -> tuple[Path | None, Path | None]:
        """A file at the locked commit and now."""
        return self.get(self.asked.commit, name), self.get(self.new.commit, name)
