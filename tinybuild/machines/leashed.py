"""A build in a process that ends when the one that began it does: it reads a pipe of that one.

Run as `python -m tinybuild.machines.leashed NAME ...`.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end() -> None:
    sys.stdin.buffer.read()  # nobody writes: it returns when the other end is gone
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end, daemon=True).start()
    sys.argv[1:1] = ["build", "--locked"]
    runpy.run_module("tinybuild", run_name="__main__", alter_sys=True)
