"""Questions to the Hub that are asked again while it is busy, silent or cut off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tinybuild.errors import Fault
from tinybuild.source.refusal import Later

T = TypeVar("T")

TRIES = 6  # as many as huggingface_hub makes for a file
BUSY = (408, 429, 500, 502, 503, 504)  # the statuses after which one asks again
LONGEST = 60  # seconds that anybody waits because the Hub says so


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one asks: how often, after which statuses again, how many seconds one waits at most."""

    tries: int = TRIES
    busy: tuple[int, ...] = BUSY
    longest: float = LONGEST + 1


def persistently(
    question: Callable[[], T],
    told: Callable[[Exception], Fault | None],
    manner: Manner,
    prepare: Callable[[], None] = lambda: None,
) -> T:
    """What a question gives. told: the fault that an error stands for; None where it is a bug.
    prepare: what comes before each try. Where the store of large files (Xet) does not answer,
    the next try goes without it. Raises Fault."""
    tried, plain = 0, False
    while True:
        prepare()
        try:
            with _plainly() if plain else contextlib.nullcontext():
                return question()
        except Fault:
            raise
        except Exception as error:
            cause = _cause(error)
            if not plain and _of_xet(cause):
                plain = True
                continue
            seconds, tried = _wait(cause, tried, manner), tried + 1
            if seconds is None or tried == manner.tries:
                fault = told(cause)
                if fault is None:
                    raise
                raise fault from None
            time.sleep(seconds)


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """Large files come and go by HTTP, as they do where hf_xet is not installed."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def _of_xet(error: Exception) -> bool:
    """Whether an error may be of hf_xet or of its store, which a firewall may not let through: it
    raises errors of its own, and Python's, without a number."""
    from huggingface_hub import constants, errors

    if constants.HF_HUB_DISABLE_XET or isinstance(error, errors.OfflineModeIsEnabled):
        return False
    if isinstance(error, errors.HfHubHTTPError):
        return "/xet-" in error.response.url.path  # where one gets a token for the store
    own = type(error).__module__ in ("builtins", "hf_xet")
    plain = (RuntimeError, ConnectionError, TimeoutError, PermissionError)
    return own and isinstance(error, plain) and getattr(error, "errno", None) is None


def of_the_hub(error: Exception) -> bool:
    """Whether an error is of the Hub or of the way there, and not of this machine's disk. The
    library that puts large files (hf_xet) raises Python's own, without a number."""
    import httpx2
    from huggingface_hub import errors

    network = (httpx2.HTTPError, errors.HfHubHTTPError, ConnectionError, TimeoutError)
    if isinstance(error, (*network, errors.EntryNotFoundError, httpx2.InvalidURL, Later)):
        return True
    return isinstance(error, OSError) and error.errno is None


def heed(response: Any) -> None:
    """Stop at once where the Hub asks for a pause that nobody waits for."""
    if response.status_code in BUSY and (seconds := _pause(response.headers) or 0) > LONGEST:
        raise Later(seconds)


def _cause(error: Exception) -> Exception:
    """What stands behind "Error while uploading"."""
    cause = error.__cause__
    return cause if isinstance(error, RuntimeError) and isinstance(cause, Exception) else error


def _pause(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks to wait: RateLimit (RFC draft), then Retry-After."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    after = headers.get("Retry-After", "")
    return float(after) if after.isdigit() else None


def _wait(error: Exception, tried: int, manner: Manner) -> float | None:
    """The seconds after which one may ask again; None where it would not help, or where the Hub's
    client has tried as often."""
    import httpx2
    from huggingface_hub import errors

    usual = float(min(2**tried, 8))
    if isinstance(error, errors.HfHubHTTPError):
        response = error.response
        if response.status_code in manner.busy:
            pause = _pause(response.headers)
            return usual if pause is None else min(pause + 1, manner.longest)
        expired = response.status_code in (401, 403) and _elsewhere(response)
        return usual if expired else None
    if isinstance(error, httpx2.ProxyError | httpx2.UnsupportedProtocol):
        return None
    if isinstance(error, errors.OfflineModeIsEnabled):  # a ConnectionError
        return None
    cut = isinstance(error, OSError) and "Consistency check" in str(error)
    network = (httpx2.TransportError, ConnectionError, TimeoutError)
    return usual if cut or isinstance(error, network) else None


def _elsewhere(response: Any) -> bool:
    """Whether an answer is of the place where large files are kept: the link to it has expired."""
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    return bool(response.url.host != urlsplit(constants.ENDPOINT).hostname)
