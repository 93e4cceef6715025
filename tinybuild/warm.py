"""Imported by the one process that warm workers are forked from: it imports, and never computes."""

from __future__ import annotations

import gc
import importlib
import signal

# What every model's build imports, whatever the model.
LIBRARIES = ("torch", "transformers.modeling_utils", "transformers.generation.utils")


def up() -> None:
    """Import what is slow to import; Ctrl-C is the business of the process that runs doit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # what is here stays: looking through it would copy its memory in each fork


up()
