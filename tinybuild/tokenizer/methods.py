"""The table of methods, each of which says everything of itself.

Reading a recipe asks it, so it imports no method before that is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

EVERY = (  # keys of any method
    *("source", "class", "method", "pad_to_multiple_of", "missing_ids"),
    *("chat_template", "special_tokens", "pad_token"),
)
SAMPLE = ("dataset", "plain", "multilingual")  # words that `text` may be
VOCABULARY = "vocabulary"  # one more: the source's own vocabulary


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to make a tokenizer, and what the rest of the house asks of it.

    make: where its function is, "module:name": from a `work.Work` to a `work.Made`. about: what it
    keeps of the source's vocabulary, for people. needs, takes: the keys of the recipe's tokenizer
    section that must be there, and those that may, beside `EVERY`. texts: the words that `text` may
    be (also a list of texts, where it takes the key). text: the one that it is where a recipe says
    none and has no dataset. source: whether it starts from a source's tokenizer; one that does not
    asks a source for its class only, where the recipe names none. shrinks: whether its result is
    compared with the source's, token by token. unchanged: whether the result is the source's own.
    """

    make: str
    about: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    text: str = "multilingual"
    source: bool = True
    shrinks: bool = False
    unchanged: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        """What `make` names, imported."""
        module, _, name = self.make.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that have a meaning for it, beside `EVERY`."""
        return (*self.needs, *self.takes)

    @property
    def reads(self) -> bool:
        """Whether it reads the sample: the dataset's text, the corpus, or the recipe's texts."""
        return "text" in self.keys


METHODS: Mapping[str, Method] = {
    "truncate": Method(
        make="tinybuild.tokenizer.shrink:truncate",
        about="the first tokens by rank: in the order of the merges (BPE), by id (all others)",
        needs=("vocab_size",),
        takes=("text", "keep"),
        texts=SAMPLE,
        shrinks=True,
    ),
    "corpus": Method(
        make="tinybuild.tokenizer.shrink:corpus",
        about="the tokens that the sample uses, most frequent first; then by rank",
        needs=("vocab_size",),
        takes=("text", "keep"),
        texts=SAMPLE,
        shrinks=True,
    ),
    "train": Method(
        make="tinybuild.tokenizer.learned:train",
        about="nothing: the source's pipeline, with a vocabulary learned from the sample",
        needs=("vocab_size",),
        takes=("text", "weighted"),
        texts=(*SAMPLE, VOCABULARY),
        text="plain",
    ),
    "scratch": Method(
        make="tinybuild.tokenizer.scratch:scratch",
        about="nothing: the vocabulary that the recipe gives",
        needs=("vocab",),
        takes=("merges", "options"),
        source=False,
    ),
    "keep": Method(
        make="tinybuild.tokenizer.stage:keep",
        about="all",
        unchanged=True,
    ),
}
