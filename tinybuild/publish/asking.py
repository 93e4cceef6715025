"""How one asks the Hub to take something, and what it says of those who may not write.

The whole question is asked again, from what is there on: none of its steps is done twice. No
message repeats what the client says, which may hold an address with a password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tinybuild.errors import Fault, SourceFault
from tinybuild.source import asking
from tinybuild.source.refusal import Address, refusal

T = TypeVar("T")

TRIES = 4
LONGEST = 300.0  # seconds to wait; the Hub's own windows are of five minutes
BUSY = (*asking.BUSY, 409, 412, 425)  # others write, too
LOGIN = "log in with a token that may write: hf auth login, or set HF_TOKEN"
AGAIN = "do the same again: it goes on from there"


def persistently(repo: str, question: Callable[[], T]) -> T:
    """What a question gives, asked again while the Hub is busy. Raises SourceFault."""
    manner = asking.Manner(tries=TRIES, busy=BUSY, longest=LONGEST)
    return asking.persistently(question, lambda error: _fault(repo, error), manner)


def _fault(repo: str, error: Exception) -> Fault | None:
    """An error of the Hub or of the way there as a fault; None for any other."""
    from huggingface_hub import errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _said(f"the Hub is not asked for {repo}: HF_HUB_OFFLINE is set", "unset it")
    if isinstance(error, errors.HFValidationError):
        return _said(f"{repo} cannot be the name of a repository", "see publish in docs/recipe.md")
    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata"):
        text = "; ".join(line.lstrip("- ") for line in str(error).splitlines()[1:])
        return _said(f"the Hub does not take the card of {repo}: {text}", "see publish.license")
    if status == 401 or isinstance(error, PermissionError):  # hf_xet's, of the same
        return _said(f"the Hub does not take the token, or there is none ({repo})", LOGIN)
    if status in (402, 403, 404):
        return _said(f"the token may not write to {repo}", LOGIN)
    if status == 429:
        return _said(f"the Hub's rate limit is reached at {repo}", "wait, then do the same again")
    if not asking.of_the_hub(error):
        return None
    return refusal(Address(repo=repo, again=AGAIN), error)


def _said(what: str, hint: str) -> Fault:
    return SourceFault.of(what, hint=hint)
