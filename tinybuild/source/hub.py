"""Config and tokenizer files of a model repository of the Hugging Face Hub."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tinybuild import wire
from tinybuild.errors import Fault
from tinybuild.files import Memo, sha256
from tinybuild.paths import Data, Json
from tinybuild.source.asking import Manner, heed, of_the_hub, persistently
from tinybuild.source.kinds import Request, Resolved
from tinybuild.source.pins import Listed, Pin, Wish, check_sizes, fault, taken, title
from tinybuild.source.refusal import Address, refusal, unready

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoFile, RepoSibling

T = TypeVar("T")


def look(wish: Wish, memo: Memo) -> Json:
    return None  # the lock decides; nothing is asked of the network


def resolve(request: Request) -> Resolved:
    from huggingface_hub import HfApi

    wish, lock = request.wish, request.lock
    address, api = Address.of(request), HfApi()
    if lock is None and "file" in wish.data:  # of a dataset, if there is one, as the classes look
        asked = functools.partial(api.repo_exists, address.repo, repo_type="dataset")
        address = replace(address, noun="dataset" if ask(address, asked) else "model")
    right: Mapping[str, Callable[[Path], bool]]
    if lock is not None:
        facts = lock.facts
        _hold_sizes(request, lock, api)
        right = {
            name: functools.partial(_locked, entry.sha256) for name, entry in lock.files.items()
        }
    else:
        now = head(address, address.revision)
        facts = {**now.facts, **({"type": address.noun} if "file" in wish.data else {})}
        chosen = {name: file for name, file in now.files.items() if taken(wish, name)}
        if not chosen:
            lacks = wish.text("file", "config or tokenizer file")
            raise fault(wish, f"{address.repo} at {address.revision} holds no {lacks}")
        check_sizes(wish, ((name, file.size) for name, file in chosen.items()))
        right = {name: functools.partial(is_listed, file) for name, file in chosen.items()}
    files = {
        name: functools.partial(_download, address, api, facts["commit"], name, right[name])
        for name in sorted(right)
    }
    return Resolved(facts=facts, files=files)


def _hold_sizes(request: Request, lock: Pin, api: HfApi) -> None:
    """Refuse files that are not as large as the lock says before they are fetched, by one request;
    those in the cache are held by their digests."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.hf_api import RepoFile

    address, repo = Address.of(request), request.wish.text()
    at = {"revision": lock.facts["commit"], "repo_type": address.noun}
    cached = {name: try_to_load_from_cache(repo, name, **at) for name in lock.files}
    missing = [name for name, path in cached.items() if not isinstance(path, str)]
    if not missing:
        return
    for entry in ask(address, lambda: api.get_paths_info(repo, missing, **at)):
        size = entry.size if isinstance(entry, RepoFile) else None
        locked = lock.files[entry.path].size if entry.path in lock.files else size
        if size is not None and size != locked:
            of = f"{entry.path} of {title(request.wish)}"
            what = f"{of} is not the locked one ({size:,} bytes, locked {locked:,})"
            raise fault(request.wish, what, request.anew)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What one request tells of a repository at a revision. facts: what a pin keeps of it: commit,
    gated (no, auto, manual, or private), and license and language where the card says them."""

    facts: Mapping[str, str]
    files: Mapping[str, Listed]

    @property
    def commit(self) -> str:
        return self.facts["commit"]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a commit as the Hub lists them."""

    files: Mapping[str, Listed]

    @classmethod
    def of(cls, files: Iterable[tuple[str, RepoSibling | RepoFile]]) -> Listing:
        """By name, as the Hub's client gives them. Raises ValueError or TypeError for others."""
        listed = {
            _name(name): {
                "size": (file.lfs.size if file.lfs else file.size) or 0,
                "oid": (file.lfs.sha256 if file.lfs else file.blob_id) or "",
            }
            for name, file in files
        }
        return wire.load(cls, {"files": listed})


def _name(said: object) -> str:
    if isinstance(said, str):
        return said
    raise TypeError("this names no file")


def head(address: Address, revision: str, *, files: bool = True) -> Head:
    """What a revision is at now. Raises SourceFault."""
    from huggingface_hub import HfApi

    api = HfApi()
    look: Any = api.dataset_info if address.noun == "dataset" else api.model_info
    more = {"files_metadata": files, "timeout": _seconds()}
    return ask(address, lambda: _told(look(address.repo, revision=revision, **more)))


def _told(info: ModelInfo | DatasetInfo) -> Head:
    """Raises ValueError or TypeError for what is not the Hub's answer."""
    from huggingface_hub import CardData

    if not isinstance(info.card_data, CardData | None):
        raise TypeError("what the card says has no keys")
    gated = "private" if info.private else str(info.gated or "no")
    facts = {"commit": full(info.sha), "gated": gated}
    said = info.card_data.to_dict() if info.card_data is not None else {}
    given = said.get("license") or ()
    names = [given] if isinstance(given, str) else given
    if names == ["other"] and said.get("license_name"):
        names = [f"other ({said['license_name']})"]
    if names:
        facts["license"] = ", ".join(map(str, names))
    spoken = said.get("language") or ()
    if spoken:
        facts["language"] = ", ".join(map(str, [spoken] if isinstance(spoken, str) else spoken))
    listing = Listing.of((file.rfilename, file) for file in info.siblings or ())
    return Head(facts=facts, files=listing.files)


def full(commit: Any) -> str:
    """What the Hub names as a commit, if it is one: it becomes a place in a cache."""
    if isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}", commit):
        return commit
    raise ValueError("this names no commit")


def is_listed(listed: Listed, path: Path) -> bool:
    """Whether a file is the one that the Hub lists, by git's digest or that of LFS."""
    if len(listed.oid) == 64:
        return sha256(path) == listed.oid
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == listed.oid


def _locked(digest: str, path: Path) -> bool:
    return sha256(path) == digest


def _download(
    address: Address, api: HfApi, commit: str, name: str, right: Callable[[Path], bool]
) -> Path:
    """A file's place in the cache of the Hub's client. One that is not right is fetched once more:
    a cache may be damaged, and a proxy may have had a bad moment."""
    import httpx2
    from huggingface_hub import errors

    def get(**more: Any) -> Path:
        at = {"revision": commit, "repo_type": address.noun}
        try:
            return Path(api.hf_hub_download(address.repo, name, **at, **more))
        except (httpx2.ConnectError, httpx2.TimeoutException, httpx2.RemoteProtocolError) as error:
            raise errors.LocalEntryNotFoundError("") from error  # it has tried as often as we do

    path = ask(address, get, name)
    if not right(path):
        path = ask(address, lambda: get(force_download=True), name)
    if not right(path) and address.commit is None:
        path.unlink()
        what = f"{name} of {address.repo} is not the file that the Hub lists"
        raise address.fault(what, "a proxy may alter it; if not, the repository is damaged")
    return path


def ask(address: Address, question: Callable[[], T], file: str = "") -> T:
    """Put a question to the Hub, again where that may help; its refusals become faults.

    file: the file that is asked for. Tokens and passwords never appear in a fault.
    """

    def told(error: Exception) -> Fault | None:
        known = of_the_hub(error) or isinstance(error, ValueError | KeyError | TypeError)
        return refusal(address, error, file) if known else None  # those: another's answer

    return persistently(question, told, Manner(), lambda: _prepare(address))


def _prepare(address: Address) -> None:
    """Have the client wait for an answer no longer than for a file, and not sleep for an hour.
    Raises Refused where a proxy or certificates are given that cannot be used."""
    from huggingface_hub import get_session

    try:
        client = get_session()
    except (ValueError, ImportError, OSError) as error:
        raise unready(address, error) from None
    client.timeout = _seconds()
    hooks = client.event_hooks
    if heed not in hooks["response"]:
        client.event_hooks = {**hooks, "response": [*hooks["response"], heed]}


def _seconds() -> float:
    """How long a connection may be silent."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def made_from(wish: Data, facts: Mapping[str, str]) -> str:
    return f"`{wish['hub']}` on the Hub at commit `{facts['commit']}`"
