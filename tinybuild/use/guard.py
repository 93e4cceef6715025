"""What notes, and refuses, each host that this process asks for while it is on."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
from collections.abc import Iterator

from tinybuild import network

# Refused, and no fault of a test: datasets asks for them by itself, and goes on without.
# The viewer of rows, beside our own Hub; what counts the loads of a dataset.
SPARED = (".127.0.0.1", "s3.amazonaws.com")
_on = list[list[str]]()  # of the guards that are on, what was asked for


class Refused(OSError):
    """No host may be reached now."""


@contextlib.contextmanager
def shut() -> Iterator[list[str]]:
    """Refuses other machines; yields the list of the hosts that were asked for.

    Libraries catch what is raised and try something else: the list tells it all the same.
    """
    _listen()
    tried = list[str]()
    _on.append(tried)
    try:
        yield tried
    finally:
        _on.remove(tried)


@functools.cache  # an audit hook cannot be taken back, and one is enough
def _listen() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if not _on:
        return
    host = network.host(event, arguments)
    if host is not None and not _here(host):
        if not host.endswith(SPARED):
            _on[-1].append(host)
        raise Refused(f"a test with tiny models asked for {host}: they need no network")


def _here(host: str) -> bool:
    """Whether a host is this machine: servers of tests, and processes that find one another."""
    return host.startswith("127.") or host in ("", "localhost", "::1", "0.0.0.0", "::", _own())


@functools.cache
def _own() -> str:
    return socket.gethostname()
