"""Imported by the one process that warm workers are forked from: it imports, and never computes."""

from __future__ import annotations

import gc
import importlib
import signal

# What every model's build imports, whatever the model: the libraries, and the stages themselves.
MODULES = (
    "torch",
    "transformers.modeling_utils",
    "transformers.generation.utils",
    "transformers.modeling_layers",
    "transformers.processing_utils",
    "safetensors.numpy",
    "tinybuild.tokenizer.stage",
    "tinybuild.model",
    "tinybuild.validate",
    "tinybuild.pack",
)


def up() -> None:
    """Import what is slow to import; Ctrl-C is the business of the process that runs doit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for name in MODULES:
        importlib.import_module(name)
    # A table that the first model to be saved makes, for all.
    importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("")
    gc.freeze()  # what is here stays: looking through it would copy its memory in each fork


up()
