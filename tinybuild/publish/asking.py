"""Questions to the Hub that are asked again while it is busy, and its refusals as faults.

The whole question is asked again, from what is there on: none of its steps is done twice. No
message repeats what the client says, which may hold an address with a password.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tinybuild.errors import Fault, SourceFault

T = TypeVar("T")

TRIES = 4
LONGEST = 300.0  # seconds to wait; the Hub's own windows are of five minutes
BUSY = (408, 409, 412, 425, 429, 500, 502, 503, 504)
LOGIN = "log in with a token that may write: hf auth login, or set HF_TOKEN"


def persistently(repo: str, question: Callable[[], T]) -> T:
    """What a question gives, asked again while the Hub is busy. Raises SourceFault."""
    for attempt in range(TRIES):
        try:
            return question()
        except Fault:
            raise
        except Exception as error:
            patience = _patience(error, attempt)
            if patience is None or attempt == TRIES - 1:
                fault = _fault(repo, error)
                if fault is None:
                    raise
                raise fault from None
            time.sleep(patience)
    raise AssertionError("unreachable")


def _status(error: Exception) -> int | None:
    """The HTTP status that an error stands for; None where it is another one."""
    from huggingface_hub.errors import HfHubHTTPError

    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _cause(error: Exception) -> Exception:
    """What stands behind "Error while uploading"."""
    cause = error.__cause__
    return cause if isinstance(error, RuntimeError) and isinstance(cause, Exception) else error


def _patience(error: Exception, attempt: int) -> float | None:
    """How many seconds to wait before asking again; None where that is of no use."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import parse_ratelimit_headers

    error = _cause(error)
    if isinstance(error, httpx2.TransportError):
        return 2.0**attempt
    if not isinstance(error, HfHubHTTPError) or _status(error) not in BUSY:
        return None
    headers = error.response.headers
    after, limit = headers.get("retry-after", ""), parse_ratelimit_headers(headers)
    if after.isdigit():
        return min(float(after), LONGEST)
    if limit is not None and not limit.remaining:
        return min(float(limit.reset_in_seconds), LONGEST)
    return 2.0**attempt


def _fault(repo: str, error: Exception) -> Fault | None:
    """An error of the Hub or of the way there as a fault; None for any other."""
    import httpx2
    from huggingface_hub import errors

    error = _cause(error)
    status = _status(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _said(f"the Hub is not asked for {repo}: HF_HUB_OFFLINE is set", "unset it")
    if isinstance(error, errors.HFValidationError):
        return _said(f"{repo} cannot be the name of a repository", "see publish in docs/recipe.md")
    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata"):
        text = "; ".join(line.lstrip("- ") for line in str(error).splitlines()[1:])
        return _said(f"the Hub does not take the card of {repo}: {text}", "see publish.license")
    if status == 401:
        return _said(f"the Hub does not take the token, or there is none ({repo})", LOGIN)
    if status in (402, 403, 404):
        return _said(f"the token may not write to {repo}", LOGIN)
    if status == 429:
        return _said(f"the Hub's rate limit is reached at {repo}", "wait, then do the same again")
    if isinstance(error, httpx2.TransportError | errors.HfHubHTTPError):
        reason = f"HTTP {status}" if status is not None else type(error).__name__
        hint = "check the network and HF_ENDPOINT, then do the same again: it goes on from there"
        return _said(f"the Hub cannot be reached for {repo}: {reason}", hint)
    return None


def _said(what: str, hint: str) -> Fault:
    return SourceFault.of(what, hint=hint)
