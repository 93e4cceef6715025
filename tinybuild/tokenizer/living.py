"""Which tokens must live: all that something refers to, and what the recipe wants kept."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import BuildFault, did_you_mean
from tinybuild.keys import PROCESSORS, mentioned
from tinybuild.tokenizer import sample, tokenizer_json, vocabulary
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.upstream import Upstream

CONFIGS = ("config.json", "generation_config.json", *PROCESSORS, "tokenizer_config.json")


def living(
    settings: Mapping[str, Any], upstream: Upstream, space: Space, inputs: Mapping[str, Path]
) -> dict[str, str]:
    """Tokens that must live -> why. Raises BuildFault for a wish that names no token."""
    source, names = upstream.loaded, {number: token for token, number in space.ids.items()}
    found: dict[str, str] = {}

    def add(token: str | None, reason: str) -> None:
        if token is not None and token in space.ids:
            found.setdefault(token, reason)

    for token in source.special_tokens_map.values():
        if not isinstance(token, list):
            add(str(token), "special")
    for name in CONFIGS:
        data = vocabulary.read(upstream.files.folder / name)
        for number in mentioned(data, named=False):
            add(names.get(number), name)
        for token in _named(data):
            add(token, name)
    if upstream.fast is not None:
        for token, reason in tokenizer_json.referred(upstream.fast).items():
            add(token, reason)
    needed = [segmenter.required() for segmenter in space.segmenters]
    needed += [file.required() for file in upstream.beside.values()]
    for token, reason in itertools.chain.from_iterable(need.items() for need in needed):
        add(token, reason)
    for token in _template(source, space.atoms):
        add(token, "chat template")
    for token in _wished(settings, source, space, inputs):
        add(token, "keep")
    return found


def _named(data: Mapping[str, Any]) -> Iterator[str]:
    """The tokens that stand as text in a config, at any depth: image_token: <image>."""
    for name, value in data.items():
        if name.endswith("_token") and isinstance(value, str):
            yield value
        elif name.endswith("_token") and isinstance(value, dict) and "content" in value:
            yield str(value["content"])
        elif name == "extra_special_tokens" and isinstance(value, dict):
            yield from (str(token) for token in value.values())
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


def chats(source: Any) -> Iterator[str]:
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


def _template(source: Any, atoms: Iterable[str]) -> list[str]:
    """The tokens of the chat templates: those written in them, and those of what they write."""
    template = source.chat_template
    if not template:
        return []
    written = "\n".join(template.values() if isinstance(template, dict) else [template])
    found = [token for token in sorted(atoms) if token in written]
    for text in chats(source):
        found += source.convert_ids_to_tokens(source(text, add_special_tokens=False)["input_ids"])
    return found


def _wished(
    settings: Mapping[str, Any], source: Any, space: Space, inputs: Mapping[str, Path]
) -> Iterator[str]:
    """The tokens of the recipe's `keep` list: literal ones, and those of texts."""
    wishes = settings.get("keep", ())
    for number, wish in enumerate(wishes):
        if isinstance(wish, str):
            if wish not in space.ids:
                raise BuildFault.of(
                    f"the source has no token {wish!r}",
                    key=("tokenizer", "keep", number),
                    hint=did_you_mean(wish, space.ids) + "; for text write {text: ...}",
                )
            yield wish
    texts = [wish if not isinstance(wish, str) else {"text": ""} for wish in wishes]
    for text in sample.listed(texts, "keep", inputs):
        yield from source.tokenize(text)
