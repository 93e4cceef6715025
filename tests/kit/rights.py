"""Modes that hold for this process too: root may write everywhere, until Linux takes that right.

Capabilities are a thread's own (capabilities(7)); threads that it begins and processes that it
forks have the same. A program that root begins gets them back, so `without` takes them for good.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
SYSCALLS = {"x86_64": (125, 126), "aarch64": (90, 91)}  # capget, capset
VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words of 32 capabilities
DROP = """
import ctypes, os, sys
for number in (1, 2):
    assert ctypes.CDLL(None).prctl(24, number, 0, 0, 0) == 0  # PR_CAPBSET_DROP
os.execvp(sys.argv[1], sys.argv[1:])
"""


def without(words: Sequence[str]) -> list[str]:
    """A command that begins another without the rights of root."""
    return [sys.executable, "-c", DROP, *words] if _root() else [*words]


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Modes hold for what this thread does."""
    if not _root():
        yield
        return
    get, take = SYSCALLS[os.uname().machine]
    header, had = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
    _call(get, header, had)
    fewer = (ctypes.c_uint32 * 6)(*had)  # effective, permitted, inheritable, and the higher ones
    fewer[0] &= ~sum(1 << number for number in OVERRIDES)
    _call(take, header, fewer)
    try:
        yield
    finally:
        _call(take, header, had)


@contextlib.contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Nobody may make, rename or remove what lies in a folder."""
    mode = folder.stat().st_mode
    folder.chmod(mode & ~0o222)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # it was replaced
            folder.chmod(mode)


def _root() -> bool:
    if os.geteuid() != 0:
        return False
    if sys.platform != "linux" or os.uname().machine not in SYSCALLS:
        pytest.skip("root is kept from nothing here")
    return True


def _call(number: int, header: object, data: object) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(number, header, data):
        raise OSError(ctypes.get_errno(), "capabilities")
