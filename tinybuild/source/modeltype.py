"""The default config, blank tokenizer and processor of a model type that transformers knows."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.errors import did_you_mean
from tinybuild.files import Memo, pretty
from tinybuild.paths import Data, Json
from tinybuild.source import blank
from tinybuild.source.family import blank_tokenizer, unread
from tinybuild.source.kinds import Kind, Request, Resolved
from tinybuild.source.pins import Wish, fault

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@functools.cache
def version(name: str) -> str:
    return importlib.metadata.version(name)


def look(wish: Wish, memo: Memo) -> Json:
    return {
        "transformers": version("transformers"),
        "tokenizers": version("tokenizers"),
    }


def config_of(wish: Wish) -> PreTrainedConfig:
    """The default config of the model type; raises SourceFault."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    kind = wish.text()
    if kind not in CONFIG_MAPPING:
        raise fault(
            wish,
            f"transformers {version('transformers')} has no model type {kind!r}",
            did_you_mean(kind, CONFIG_MAPPING.keys()),
        )
    try:
        made: PreTrainedConfig = CONFIG_MAPPING[kind]()
    except (ImportError, TypeError, ValueError, StrictDataclassError) as error:
        line = " ".join(str(error).split())
        raise fault(
            wish,
            f"the default config of {kind} cannot be made: {line[:200]}",
            "take the config from a path or the Hub instead",
        ) from None
    return made


def resolve(request: Request) -> Resolved:
    from transformers import CONFIG_MAPPING

    wish, out = request.wish, request.out
    kind, config = wish.text(), config_of(wish)
    out.mkdir(parents=True)
    (out / "config.json").write_text(pretty(json.loads(config.to_json_string(use_diff=False))))
    tokenizer, served = blank_tokenizer(kind, config), wish.serves or kind
    files = blank.processor(served, tokenizer)
    if tokenizer is not None:
        data = json.loads(CONFIG_MAPPING[served]().to_json_string(use_diff=False))
        generation = blank.languages(tokenizer, data)
        blank.roles(tokenizer, data)
        unread(tokenizer, served)
        files |= {"generation_config.json": generation} if generation else {}
    for name, data in files.items() if served == kind else ():
        (out / name).write_text(pretty(data))
    if tokenizer is not None:
        tokenizer.save_pretrained(out)
    names = sorted(path.name for path in out.iterdir())
    return Resolved(
        facts={"transformers": version("transformers")},
        files={name: functools.partial(Path, out, name) for name in names},
    )


def _made_from(wish: Data, facts: Mapping[str, str]) -> str:
    return f"the defaults of `{wish['transformers']}` in transformers {facts['transformers']}"


KIND = Kind(
    look=look,
    resolve=resolve,
    made_from=_made_from,
    rows_of=lambda wish: f"`{wish['transformers']}`",
    facts=("transformers",),
    blank=True,
    license=lambda wish: "apache-2.0",  # that of transformers, which its configs come with
    config=config_of,
)
