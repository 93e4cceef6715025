"""Whether all files of a tokenizer cut text alike, each read by the library that reads it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import corpus
from tinybuild.tokenizer import sample, tokenizer_json, upstream
from tinybuild.tokenizer.format import Cut

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Vocabulary files, and how their library cuts a text; None where nothing here reads them.
Reader = tuple[tuple[str, ...], Cut | None]
LISTS = ("vocab.txt", "vocab.json", "merges.txt")  # that a class reads where it has nothing else
# The lists that a model of the tokenizers library reads.
READ = {
    "BPE": ("vocab.json", "merges.txt"),
    "WordPiece": ("vocab.txt",),
    "WordLevel": ("vocab.json",),
}
# Where readers of one vocabulary part: runs of spaces, lines, and what else is a space.
SPACES = (
    *(" ", "  ", "   ", " a", "  a", "a ", "a  ", "a  b", "a   b    c", "a b", " a  b "),
    *(
        "\n",
        "\n\n",
        "a\nb",
        "a\n\n\nb",
        "\na",
        "a\n",
        "a \n b",
        "a\r\nb",
        "\r",
        "\t",
        "a\tb",
        "\t\ta",
    ),
    *("a\u00a0b", "\u00a0", "a\u3000b", "a\u2003b", "a\u2028b", "a\u200bb", "\ufeffa"),
    *("  def f(x):\n        return x  # y\n", "1 234 567", "...  !!", "a-b_c", "I'm  don't"),
)


def texts() -> list[str]:
    """Texts in all scripts that ship with tinybuild, and runs of spaces."""
    return [*SPACES, *corpus.texts()]


def differences(
    readers: Iterable[Reader], made: PreTrainedTokenizerBase, texts: Sequence[str]
) -> dict[str, str]:
    """File of a folder -> how its library cuts these texts otherwise than `made`, which is what
    AutoTokenizer makes of the folder."""
    named, cut = sample.naming(made), sample.cut(made, texts)
    tokens = [None if ids is None else [*map(named, ids)] for ids in cut]
    told = dict[str, str]()
    for names, read in readers:
        if read is None:
            continue
        pairs = zip(texts, tokens, strict=True)
        other = [text for text, cut in pairs if cut is None or cut != read(text)]
        if other:
            how = f"cuts {len(other)} of {len(texts)} texts otherwise, such as {other[0][:40]!r}"
            told |= dict.fromkeys(names, how)
    return told


def readers(folder: Path, made: PreTrainedTokenizerBase) -> Iterator[Reader]:
    """The vocabulary files of a folder, and how their library cuts a text into tokens; None where
    it is not installed, or cannot read them. Without those of a class that is not fast: it is what
    reads them."""
    own = () if made.is_fast else made.vocab_files_names.values()
    for path in sorted(filter(Path.is_file, folder.iterdir())):
        format_ = upstream.format_of(path)
        if format_ is not None and (path.name == tokenizer_json.NAME or path.name not in own):
            yield (path.name,), format_.library(path, made)
    lists = tuple(name for name in LISTS if (folder / name).is_file())
    if lists and made.is_fast and (folder / tokenizer_json.NAME).is_file():
        named = not set(lists).isdisjoint(made.vocab_files_names.values())
        yield lists, _by_class(folder, made) if named else _by_model(folder, made, lists)


def _by_class(folder: Path, made: PreTrainedTokenizerBase) -> Cut | None:
    """How the class cuts text where there is no tokenizer.json; None for one that needs it."""
    with tempfile.TemporaryDirectory() as temporary:
        bare = Path(temporary) / "bare"
        shutil.copytree(folder, bare, ignore=shutil.ignore_patterns(tokenizer_json.NAME))
        try:
            other = type(made).from_pretrained(bare)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
    if len(other) != len(made):
        return None
    named = sample.naming(other)
    return lambda text: [*map(named, sample.cut(other, [text])[0] or [])]


def _by_model(folder: Path, made: PreTrainedTokenizerBase, lists: Sequence[str]) -> Cut | None:
    """How text is cut by what the lists hold, in the pipeline of a class that reads tokenizer.json
    alone; None for lists that its model does not read."""
    from tokenizers import Tokenizer, models

    data = json.loads(made.backend_tokenizer.to_str())
    type_ = data["model"]["type"]
    if READ.get(type_) != tuple(lists):
        return None
    found = getattr(models, type_).read_file(*(str(folder / name) for name in lists))
    parts = found if isinstance(found, tuple) else (found,)
    data["model"].update(zip(("vocab", "merges"), parts, strict=False))
    data |= {"padding": None, "truncation": None}  # a loaded one holds those of the last call
    other = Tokenizer.from_str(json.dumps(data))
    named = sample.naming(made)
    return lambda text: [*map(named, other.encode(text, add_special_tokens=False).ids)]
