"""Which tokens must live: all that something refers to, and what the recipe wants kept."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault, did_you_mean
from tinybuild.keys import PROCESSORS, mentioned
from tinybuild.paths import Data
from tinybuild.sections import Passage
from tinybuild.tokenizer import sample, tokenizer_json, vocabulary
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.format import AnyHeld
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.upstream import Upstream
from tinybuild.tokenizer.work import Work

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONFIGS = ("config.json", "generation_config.json", *PROCESSORS, "tokenizer_config.json")


def living(work: Work, upstream: Upstream, space: Space) -> dict[str, str]:
    """Tokens that must live -> why. Raises BuildFault for a wish that names no token."""
    tokens: dict[str, str] = {}
    for token, reason in _reasons(work, upstream, space):
        if token in space.ids:
            tokens.setdefault(token, reason)
    return tokens


def _reasons(work: Work, upstream: Upstream, space: Space) -> Iterator[tuple[str, str]]:
    source, names = upstream.loaded, {number: token for token, number in space.ids.items()}
    for token in source.special_tokens_map.values():
        if not isinstance(token, list):
            yield str(token), "special"
    for name in CONFIGS:
        data = vocabulary.read(upstream.files.folder / name)
        ids = mentioned(data, named=False)
        yield from ((names[number], name) for number in ids if number in names)
        yield from ((token, name) for token in _named(data))
    if upstream.fast is not None:
        yield from tokenizer_json.referred(upstream.fast).items()
    parts: list[Segmenter | AnyHeld] = [*space.segmenters, *upstream.beside.values()]
    for part in parts:
        yield from part.required().items()
    yield from ((token, "chat template") for token in _template(source, space.atoms))
    yield from ((token, "keep") for token in _wished(work, source, space))


def _named(data: Data) -> Iterator[str]:
    """The tokens that stand as text in a config, at any depth: image_token: <image>."""
    for name, value in data.items():
        if name.endswith("_token") and isinstance(value, str):
            yield value
        elif name.endswith("_token") and isinstance(value, dict) and "content" in value:
            yield str(value["content"])
        elif isinstance(value, dict) and name != "added_tokens_decoder":
            yield from _named(value)


CHATS = (
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    [
        {"role": "system", "content": ""},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
    ],
)
THE_DAY = datetime.datetime(2024, 7, 26, tzinfo=datetime.UTC)  # for templates that write the date


def chats(source: PreTrainedTokenizerBase) -> Iterator[str]:
    """What the source's chat templates write around empty messages."""
    import jinja2

    template = source.chat_template
    for text in template.values() if isinstance(template, dict) else [template]:
        for chat, prompt in itertools.product(CHATS, (False, True)):
            try:
                yield source.apply_chat_template(
                    chat,
                    chat_template=text,
                    tokenize=False,
                    add_generation_prompt=prompt,
                    strftime_now=THE_DAY.strftime,
                )
            except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError):
                continue  # a template refuses chats that are not of its kind


def _template(source: PreTrainedTokenizerBase, atoms: Iterable[str]) -> list[str]:
    """The tokens of the chat templates: those written in them, and those of what they write."""
    template = source.chat_template
    if not template:
        return []
    written = "\n".join(template.values() if isinstance(template, dict) else [template])
    tokens = [token for token in sorted(atoms) if token in written]
    for text in chats(source):
        tokens += source.convert_ids_to_tokens(source(text, add_special_tokens=False)["input_ids"])
    return tokens


def _wished(work: Work, source: PreTrainedTokenizerBase, space: Space) -> Iterator[str]:
    """The tokens of the recipe's `keep` list: literal ones, and those of texts."""
    passages: list[str | Passage] = []
    for number, wish in enumerate(work.section.get("keep", ())):
        passages.append("" if isinstance(wish, str) else wish)
        if isinstance(wish, str):
            if wish not in space.ids:
                raise BuildFault.of(
                    f"the source has no token {wish!r}",
                    key=("tokenizer", "keep", number),
                    hint=did_you_mean(wish, space.ids) + "; for text write {text: ...}",
                )
            yield wish
    for text in sample.listed(passages, "keep", work.inputs):
        yield from source.tokenize(text)
