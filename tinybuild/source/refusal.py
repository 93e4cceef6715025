"""Why the Hub did not answer, in words: the cause, and what mends it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import responses
from typing import TYPE_CHECKING, Literal

from tinybuild.errors import Fault, SourceFault, did_you_mean, first_line, nearest
from tinybuild.network import scrubbed
from tinybuild.source.kinds import Request
from tinybuild.source.pins import Wish, slot_key

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

AGAIN = "run it again"
BACK = "when it is back: https://status.huggingface.co"
NETWORK = "check the network (and HF_ENDPOINT, HTTPS_PROXY, HTTP_PROXY, NO_PROXY), then"
SETTINGS = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and SSL_CERT_FILE, then"
ENDPOINT = "HF_ENDPOINT is an address such as https://huggingface.co"
ALIKE = 1000  # repositories of an owner among which a mistyped name is looked for


class Refused(SourceFault):
    """The Hub refuses, or cannot be asked: what is on this machine may be right all the same."""


class Later(Exception):
    """The Hub wants to be left alone for longer than anybody waits."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(seconds)


@dataclass(frozen=True, kw_only=True)
class Address:
    """The repository that a question is about, and where its refusal is told.

    commit: the one that a lock holds, if one does. key: the place in the recipe. anew: what accepts
    the upstream as it is now. again: how the same is done once more.
    """

    repo: str
    noun: Literal["model", "dataset"] = "model"
    revision: str = "main"
    commit: str | None = None
    key: tuple[str | int, ...] = ()
    anew: str = ""
    again: str = AGAIN

    @classmethod
    def of(cls, request: Request) -> Address:
        wish, lock = request.wish, request.lock
        facts = lock.facts if lock is not None else {}
        return cls(
            repo=wish.text(),
            noun=noun(wish, facts),
            revision=wish.text("revision", "main"),
            commit=facts.get("commit"),
            key=(*slot_key(wish), wish.kind),
            anew=request.anew,
        )

    def fault(self, what: str, hint: str = "", key: str = "") -> Fault:
        place = (*self.key[:-1], key) if key and self.key else self.key
        return SourceFault.of(what, key=place, where="" if place else self.repo, hint=hint)


def noun(wish: Wish, facts: Mapping[str, str]) -> Literal["model", "dataset"]:
    """What kind of repository a wish is of; of a part that a source names, its pin's facts say."""
    return "dataset" if "dataset" in (wish.slot, facts.get("type")) else "model"


def refusal(address: Address, error: Exception, file: str = "") -> Refused:
    """The fault that an error of the Hub's client stands for; `file` is the one asked for."""
    return Refused(_refusal(address, error, file).findings)


def unready(address: Address, error: Exception) -> Refused:
    """The fault of settings with which no connection can be made."""
    what = f"no connection can be made for {address.repo}: {scrubbed(str(error))}"
    return Refused(address.fault(what, f"{SETTINGS} {address.again}").findings)


def _refusal(address: Address, error: Exception, file: str) -> Fault:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, errors.HfHubHTTPError):
        return _answered(address, error, file)
    return _unanswered(address, error, file)


def _answered(address: Address, error: HfHubHTTPError, file: str) -> Fault:
    """The Hub answered, and refuses."""
    from huggingface_hub import errors

    repo, status = address.repo, error.response.status_code
    said = error.response.headers.get("X-Error-Message", "")
    if isinstance(error, errors.GatedRepoError):
        hint = f"accept its terms on the Hub, then log in: hf auth login ({repo})"
        return address.fault(f"{repo} is gated", hint)
    if status == 401 and (
        "credentials" in said or not isinstance(error, errors.RepositoryNotFoundError)
    ):
        return _token(address)
    if isinstance(error, errors.RepositoryNotFoundError):
        what = f"the Hub has no {address.noun} {repo} that you may see"
        return address.fault(what, _alike(address))
    if isinstance(error, errors.RevisionNotFoundError):
        return _revision(address)
    if isinstance(error, errors.EntryNotFoundError):
        return _file(address, file)
    if isinstance(error, errors.DisabledRepoError):
        return address.fault(f"the Hub has disabled {repo}", "take another source")
    if status == 403:
        what = f"the Hub refuses {repo} to your token (403)"
        hint = "give the token the right to read it: https://huggingface.co/settings/tokens"
        return address.fault(what, hint)
    words = f"it answers {status} {responses.get(status, '')}".strip()
    return address.fault(f"{_unreached(repo, file)}: {words}", f"{address.again} {BACK}")


def _unanswered(address: Address, error: Exception, file: str) -> Fault:
    """No answer came, or one that is not the Hub's."""
    import httpx2
    from huggingface_hub import errors

    repo, of = address.repo, f"{file} of {address.repo}" if file else address.repo
    if isinstance(error, Later):
        what = f"the Hub takes no more requests for {error.seconds:,.0f} s ({of})"
        more = "" if _signed_in() else "; with a token it takes more: hf auth login"
        return address.fault(what, f"{address.again} after that{more}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        what = f"HF_HUB_OFFLINE is set, and {of} is not in the cache of this machine"
        return address.fault(what, f"unset HF_HUB_OFFLINE, then {address.again}")
    if isinstance(error, PermissionError):  # hf_xet's
        return _token(address)
    if isinstance(error, UnicodeEncodeError) and not _is_ascii_token():  # its text holds the token
        what = "the token holds characters that no token of the Hub has"
        return address.fault(what, "correct HF_TOKEN, or log in anew: hf auth login")
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol) and not _is_address():
        return address.fault(f"{repo} cannot be asked for: HF_ENDPOINT is not an address", ENDPOINT)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):  # it redirects there
        return _another(of, address)
    if isinstance(error, httpx2.HTTPError | ConnectionError | TimeoutError):
        reason = scrubbed(first_line(error)) or type(error).__name__
        return address.fault(f"{_unreached(repo, file)}: {reason}", f"{NETWORK} {address.again}")
    if isinstance(error, OSError) and "Consistency check" in str(error):
        what = f"{of} came with more or fewer bytes than the Hub lists"
        return address.fault(what, f"check whether a proxy alters it, then {address.again}")
    return _another(of, address)


def _another(of: str, address: Address) -> Fault:
    """The answer is nobody's whom one asked."""
    what = f"what answers for {of} is not the Hub"
    hint = f"a proxy or a login page may stand between; check HF_ENDPOINT, then {address.again}"
    return address.fault(what, hint)


def _is_address() -> bool:
    """Whether HF_ENDPOINT is one: else an answer led to what is none."""
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    try:
        url = urlsplit(constants.ENDPOINT)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


def _unreached(repo: str, file: str) -> str:
    return f"the Hub cannot be reached for {repo}" + (f" ({file})" if file else "")


def _signed_in() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _is_ascii_token() -> bool:
    """Whether the token fits into a header: else what the Hub said did not fit into a request."""
    from huggingface_hub import get_token

    return (get_token() or "").isascii()


def _token(address: Address) -> Fault:
    """A token that is not accepted, or a login that lacks."""
    if not _signed_in():
        what = f"the Hub does not show {address.repo} without a login"
        return address.fault(what, "log in: hf auth login")
    given = [name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)]
    if given:
        what = f"the Hub does not accept the token of {given[0]} (401)"
        return address.fault(what, f"correct {given[0]}, or unset it, then {address.again}")
    return address.fault("the Hub does not accept the saved token (401)", "hf auth login")


def _revision(address: Address) -> Fault:
    if address.commit is not None:
        what = f"{address.repo} no longer has the locked commit {address.commit[:12]}"
        return address.fault(what, address.anew)
    hint = did_you_mean(address.revision, _branches(address)) or "check the branch, tag or commit"
    what = f"{address.repo} has no revision {address.revision}"
    return address.fault(what, hint, "revision")


def _file(address: Address, file: str) -> Fault:
    name = f"no file {file}" if file else "none of the files asked for"
    if address.commit is not None:
        return address.fault(f"{address.repo} has {name} at the locked commit", address.anew)
    hint = "it is listed, and may have been removed meanwhile; run it again"
    return address.fault(f"{address.repo} has {name} at {address.revision}", hint)


def _branches(address: Address) -> list[str]:
    """The branches and tags of a repository; [] where they cannot be had either."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(address.repo, repo_type=address.noun)
    except (OSError, ValueError, LookupError):
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def _alike(address: Address) -> str:
    """What to do about a repository that is not there: the names that are most like it."""
    from huggingface_hub import HfApi

    api = HfApi()
    other = "dataset" if address.noun == "model" else "model"
    look = api.list_datasets if address.noun == "dataset" else api.list_models
    owner, _, name = address.repo.rpartition("/")
    try:
        if api.repo_exists(address.repo, repo_type=other):
            return f"{address.repo} is a {other}"
        known = [found.id for found in look(author=owner, limit=ALIKE)] if owner else []
        known += [found.id for found in look(search=name, limit=ALIKE)] if not known else []
    except (OSError, ValueError, LookupError):
        known = []
    near = did_you_mean(address.repo, known) if nearest(address.repo, known) else "check the name"
    return f"{near.rstrip('?')}; a private one needs a login: hf auth login"
