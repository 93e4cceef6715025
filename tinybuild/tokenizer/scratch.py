"""method: scratch. A tokenizer from the vocabulary and merges that the recipe gives."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tinybuild.errors import BuildFault, did_you_mean
from tinybuild.sections import Scalar
from tinybuild.tokenizer.work import Made, Work

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Loaded: TypeAlias = "PreTrainedTokenizerBase"
Class: TypeAlias = "type[PreTrainedTokenizerBase]"
Vocab = list[str] | Mapping[str, list[str]]
Options = Mapping[str, Scalar | list[str]]


def scratch(work: Work) -> Made:
    """A tokenizer of the given class with the given tokens, ids in the order of the list.

    A class that takes its vocabulary as an argument (the fast ones) gets it so. Any other gets the
    files it names in `vocab_files_names`, written from the recipe: `vocab` for vocab_file, `merges`
    for merges_file, `src` of a mapping for src_vocab_file. Raises BuildFault.
    """
    from transformers import TokenizersBackend

    from tinybuild.tokenizer.loading import tokenizer_class

    section = work.section
    name = section.get("class") or _named(work.folder)
    class_ = tokenizer_class(name)
    vocab, merges = section["vocab"], section.get("merges")
    options = dict(section.get("options") or {})
    try:
        if issubclass(class_, TokenizersBackend):
            return Made(loaded=_fast(class_, vocab, merges, options))
        return Made(loaded=_slow(class_, vocab, merges, options))
    except (TypeError, ValueError, KeyError, ImportError, AttributeError, OSError) as error:
        raise BuildFault.of(
            f"{name} refuses this: {str(error).strip().splitlines()[0]}",
            key=("tokenizer",),
            hint=f"{name} takes the files {', '.join(sorted(class_.vocab_files_names.values()))}",
        ) from None


def _named(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    if path.is_file():
        named = json.loads(path.read_text()).get("tokenizer_class")
        if named:
            return str(named)
    raise BuildFault.of(
        "the source names no tokenizer class", key=("tokenizer",), hint="add tokenizer.class"
    )


def _fast(class_: Class, vocab: Vocab, merges: list[str] | None, options: Options) -> Loaded:
    if not isinstance(vocab, list):
        raise BuildFault.of(
            f"{class_.__name__} has one vocabulary", key=("tokenizer", "vocab"), hint="give a list"
        )
    ids = {token: number for number, token in enumerate(vocab)}
    arguments: dict[str, Any] = {"vocab": ids}
    takes_merges = "merges" in inspect.signature(class_.__init__).parameters
    if takes_merges:
        arguments["merges"] = _pairs(merges or [], ids)
    elif merges is not None:
        raise BuildFault.of(
            f"{class_.__name__} has no merges", key=("tokenizer", "merges"), hint="remove them"
        )
    if json.loads(class_().backend_tokenizer.to_str())["model"]["type"] == "Unigram":
        # A Unigram vocabulary carries log probabilities: the order of the list is the rank.
        arguments["vocab"] = [(token, -float(number)) for token, number in ids.items()]
    made = class_(**arguments, **options)
    more = sorted(set(made.get_vocab()) - set(ids))
    if more:
        shown = ", ".join(more[:5]) + (f" and {len(more) - 5} more" if len(more) > 5 else "")
        raise BuildFault.of(
            f"{class_.__name__} adds tokens that are not in vocab: {shown}",
            key=("tokenizer", "vocab"),
            hint="give them their places in vocab, or other special tokens in options",
        )
    return made


def _pairs(merges: list[str], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    pairs = []
    for number, merge in enumerate(merges):
        left, right = merge.split(" ")[:2]
        for part in (left, right, left + right):
            if part not in ids:
                raise BuildFault.of(
                    f"the merge {merge!r} needs the token {part!r}, which is not in vocab",
                    key=("tokenizer", "merges", number),
                    hint=did_you_mean(part, ids) if len(part) > 2 else "add it to vocab",
                )
        pairs.append((left, right))
    return pairs


def _slow(class_: Class, vocab: Vocab, merges: list[str] | None, options: Options) -> Loaded:
    parts = {"": vocab} if isinstance(vocab, list) else dict(vocab)
    given: dict[str, Any] = {
        (f"{part}_vocab_file" if part else "vocab_file"): tokens for part, tokens in parts.items()
    }
    if merges is not None:
        given["merges_file"] = merges
    known = class_.vocab_files_names
    for role in given:
        if role not in known:
            takes = ", ".join(sorted(known))
            raise BuildFault.of(
                f"{class_.__name__} does not take {role} (it takes {takes})",
                key=("tokenizer", "merges" if role == "merges_file" else "vocab"),
                hint="give vocab as a mapping with its names" if isinstance(vocab, list) else "",
            )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = {}
        for role, content in given.items():
            paths[role] = folder / known[role]
            if role == "merges_file":
                text = "".join(f"{merge}\n" for merge in content)
            elif known[role].endswith(".json"):
                text = json.dumps({t: i for i, t in enumerate(content)}, ensure_ascii=False)
            elif known[role].endswith(".txt"):
                text = "".join(f"{token}\n" for token in content)
            else:
                raise BuildFault.of(
                    f"{class_.__name__} reads {known[role]}, which cannot be written by hand",
                    key=("tokenizer", "class"),
                )
            paths[role].write_text(text, encoding="utf-8")
        return class_(**{role: str(path) for role, path in paths.items()}, **options)
