"""A repository of the Hub at two commits: the locked one, and what its revision is at now."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild.drift.moved import Question
from tinybuild.files import sha256
from tinybuild.source import Pin, Wish
from tinybuild.source.hub import Head, ask
from tinybuild.source.pins import LARGEST
from tinybuild.source.refusal import Address, noun


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
        """Whether its rows are of interest, and not its files."""
        return self.wish.slot == "dataset"

    @property
    def revision(self) -> str:
        return self.wish.text("revision", "main")

    @property
    def address(self) -> Address:
        """Where a refusal is told; the next build says what to do about it."""
        kind = noun(self.wish, self.pin.facts)
        return Address(repo=self.wish.text(), noun=kind, revision=self.revision)

    @property
    def commit(self) -> str:
        return self.pin.facts["commit"]


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

        repo, kind = self.asked.wish.text(), self.asked.address.noun
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
        place = {"revision": commit, "repo_type": kind, "cache_dir": self.folder / "cache"}
        download = functools.partial(hf_hub_download, repo, name, **place)
        return Path(ask(self.asked.address, download, name))

    def sides(self, name: str) -> tuple[Path | None, Path | None]:
        """A file at the locked commit and now."""
        return self.get(self.asked.commit, name), self.get(self.new.commit, name)
