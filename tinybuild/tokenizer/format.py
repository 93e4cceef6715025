"""A format of vocabulary files, and a file of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tinybuild.errors import BuildFault, Fault
from tinybuild.tokenizer.segmenter import Segmenter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Content = TypeVar("Content")
Cut = Callable[[str], Sequence[str]]  # a text -> its tokens


def fault(what: str, hint: str = "") -> Fault:
    """That a file is not a vocabulary that can be used."""
    return BuildFault.of(what, key=("tokenizer",), hint=hint)


@dataclass(frozen=True, kw_only=True)
class Format(Generic[Content]):
    """All that is to be known of a format; an entry of `upstream.FORMATS`.

    holds: whether a file is of it, by its name and first bytes. read: its content, checked; raises
    BuildFault. tokens: what text is cut into, in their order. required: tokens without which it
    does not load, or cuts other text otherwise -> why. segmenter: its algorithm. cut: the file with
    the kept tokens (-> new id) only, the same bytes every time. library: how the format's own
    library cuts text by a file, beside which is the tokenizer given; None where that library is not
    installed.
    """

    holds: Callable[[Path], bool]
    read: Callable[[Path], Content]
    tokens: Callable[[Content], Iterable[str]]
    required: Callable[[Content], Mapping[str, str]]
    segmenter: Callable[[Content], Segmenter]
    cut: Callable[[Content, Mapping[str, int]], bytes]
    library: Callable[[Path, PreTrainedTokenizerBase], Cut | None]


@dataclass(frozen=True, kw_only=True)
class Held(Generic[Content]):
    """What a file of a format holds."""

    format: Format[Content]
    content: Content

    def strangers(self, known: Set[str]) -> Sequence[str]:
        """Its tokens that are not among these."""
        return [token for token in self.format.tokens(self.content) if token not in known]

    def required(self) -> Mapping[str, str]:
        return self.format.required(self.content)

    def segmenter(self) -> Segmenter:
        return self.format.segmenter(self.content)

    def cut(self, kept: Mapping[str, int]) -> bytes:
        return self.format.cut(self.content, kept)


AnyHeld = Held[Any]  # of whichever format
