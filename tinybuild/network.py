"""No stage but fetch reaches a network: what a process without one is told, and what stops it.

Libraries are told by their environment before they are imported (`ENVIRONMENT`), so that they do
not even try, and find no token and no cache of earlier downloads: what a cache holds is in no lock.
What tries all the same is stopped at the socket (`shut`), with a fault that names stage and host;
on Linux the kernel gives no socket either, also to processes that a library starts (`seal`).
No secret of the one that may is ever shown (`scrubbed`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import struct
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

    Neither a hook nor a filter can be taken back, so a process that was shut stays so.
    """
    sys.addaudithook(_refuse)
    if SEALS:
        with contextlib.suppress(OSError):
            seal()


# Machines whose system calls we know: the kernel's number of them, of `socket`, of
# `io_uring_setup` (which makes sockets without asking), and where a second numbering begins.
_MACHINES = {"x86_64": (0xC000003E, 41, 425, 1 << 30), "aarch64": (0xC00000B7, 198, 425, 1 << 30)}
SEALS = sys.platform == "linux" and platform.machine() in _MACHINES


def seal() -> None:
    """Have the kernel refuse every socket of this thread, and of all that it begins, that is no
    pipe between processes. Raises OSError where it does not know how (seccomp)."""
    known, sockets, rings, second = _MACHINES[platform.machine()]
    allow, deny = 0x7FFF0000, 0x00050000  # deny | errno
    steps = (
        (0x20, 0, 0, 4),  # the numbering
        (0x15, 0, 7, known),
        (0x20, 0, 0, 0),  # the system call
        (0x35, 5, 0, second),
        (0x15, 4, 0, rings),
        (0x15, 0, 2, sockets),
        (0x20, 0, 0, 16),  # its first argument, the family
        (0x15, 0, 2, 1),  # AF_UNIX
        (0x06, 0, 0, allow),
        (0x06, 0, 0, deny | errno.EPERM),
        (0x06, 0, 0, deny | errno.EAFNOSUPPORT),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    unsigned, no_new_privileges, set_seccomp, filtered = ctypes.c_ulong, 38, 22, 2
    nothing = unsigned(0)
    if libc.prctl(no_new_privileges, unsigned(1), nothing, nothing, nothing) or libc.prctl(
        set_seccomp, unsigned(filtered), program, nothing, nothing
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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
        if isinstance(one, OSError) and one.errno == errno.EAFNOSUPPORT:
            return "a network"
        if type(one).__name__ in ("OfflineModeIsEnabled", "LocalEntryNotFoundError"):
            url = re.search(r"https?://[^\s'\"]+", str(one))
            return url[0].rstrip(".,:") if url else "the Hub"
        if _SAID.search(str(one)):
            return "the Hub"
    return None


# How transformers and datasets say that they did not find what is on the Hub, after they have
# caught what kept them from it.
_SAID = re.compile(r"OfflineModeIsEnabled|trying to load it from 'https?://")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
