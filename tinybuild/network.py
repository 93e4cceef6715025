"""No stage but fetch reaches a network: what a process without one is told, and what stops it.

Libraries are told by their environment before they are imported (`ENVIRONMENT`), so that they do
not even try, and find no token and no cache of earlier downloads: what a cache holds is in no lock.
What tries all the same is stopped at the socket (`shut`), with a fault that names stage and host.
No secret of the one that may is ever shown (`scrubbed`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

from tinybuild.errors import BuildFault, Fault

_NOWHERE = f"{os.devnull}/nowhere"  # nothing can be there, and nobody can make it
ENVIRONMENT: dict[str, str | None] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_CACHE": _NOWHERE,
    "HF_XET_CACHE": _NOWHERE,
    "HF_TOKEN_PATH": os.devnull,
    "HF_TOKEN": None,
    "HUGGING_FACE_HUB_TOKEN": None,
    # What a workflow's run proves with who it is, to the Hub and to GitHub.
    "HF_OIDC_RESOURCE": None,
    "HF_OIDC_ID_TOKEN": None,
    "ACTIONS_ID_TOKEN_REQUEST_URL": None,
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": None,
    "GH_TOKEN": None,
    "GITHUB_TOKEN": None,
    # What would carry a question past the hook: a process that a library starts inherits these.
    "HTTP_PROXY": None,
    "HTTPS_PROXY": None,
    "ALL_PROXY": None,
    "http_proxy": None,
    "https_proxy": None,
    "all_proxy": None,
    # What a store in a bucket asks for.
    "AWS_ACCESS_KEY_ID": None,
    "AWS_SECRET_ACCESS_KEY": None,
    "AWS_SESSION_TOKEN": None,
}
_EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_tried: list[str] = []


_PASSWORD = re.compile(r"(?<=://)[^/\s@'\"]+@")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def scrubbed(text: str) -> str:
    """A text without the passwords of its addresses, and without the Hub's tokens."""
    text = _PASSWORD.sub("", text)
    for token in filter(None, map(os.environ.get, _TOKENS)):
        text = text.replace(token, "***")
    return re.sub(r"\bhf_[A-Za-z0-9]{8,}", "hf_***", text)


def shut() -> None:
    """Let this process reach no host from now on, itself included; pipes and files stay.

    An audit hook cannot be taken back, so a process that was shut stays so.
    """
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    name = host(event, arguments)
    if name is not None:
        _tried.append(name)
        raise fault(name)


def host(event: str, arguments: tuple[object, ...]) -> str | None:
    """The host that an audited event of Python asks for; None where it asks for none."""
    asked: object = None
    if event in _EVENTS:
        asked = arguments[1]
        asked = asked[0] if isinstance(asked, tuple) else None  # a pipe's address is a path
    elif event in _NAMES:
        asked = arguments[0]
    if asked is None:
        return None
    return asked.decode(errors="replace") if isinstance(asked, bytes) else str(asked)


def fault(host: str) -> Fault:
    return BuildFault.of(
        f"something here asked for {host}; only the fetch stage reaches a network",
        hint="give what it needs as a source of the recipe, or in the files of its source",
    )


def tried() -> str | None:
    """The first host that was asked for since this was called last; None where there was none.

    Libraries that catch whatever is raised hide the fault, but not the attempt.
    """
    host = _tried[0] if _tried else None
    _tried.clear()
    return host


def offline(error: BaseException) -> str | None:
    """What a library wanted that was told to be offline, from the error it raised; else None."""
    for one in _chain(error):
        if type(one).__name__ in ("OfflineModeIsEnabled", "LocalEntryNotFoundError"):
            url = re.search(r"https?://[^\s'\"]+", str(one))
            return url[0].rstrip(".,:") if url else "the Hub"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
