"""What is saved beside the weights: the generation config and the processor's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.config import carry, heads, older, overrides
from tinybuild.errors import BuildFault
from tinybuild.facts import Ids
from tinybuild.feeding import processor
from tinybuild.feeding.processor import abroad
from tinybuild.files import pretty
from tinybuild.keys import configs, elsewhere, is_id, measures, row_behind, says, vocabulary
from tinybuild.paths import Data, Json, whole

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Of a text that a voice reads (CLVP's): its class puts one token before it and two behind.
READ, READ_AROUND = "max_text_tokens", 3


def processor_files(
    model: PreTrainedModel, folder: Path, source: PreTrainedConfig, tokenizer: Ids | None
) -> Mapping[str, dict[str, Json]]:
    """The source's processor files in line with the model and the tokenizer's ids."""
    files = processor.read(folder)
    if tokenizer is not None:
        for name, data in files.items():
            named = {key: value for key, value in data.items() if key.endswith("_token_id")}
            new = carry.align(named, tokenizer, {}, model.config.to_dict())
            files[name] = {**data, **new}
    before = json.loads(source.to_json_string(use_diff=False))
    made = processor.fit(files, before, model.config.to_dict(), model)
    return abroad.kept(files, made, folder)


def generation(model: PreTrainedModel, folder: Path, tokenizer: Ids | None, wishes: Data) -> None:
    """Give a model the source's generation config, its ids brought in line like the config's."""
    _generation(model, folder, tokenizer, wishes)
    row = row_behind(model.config.to_dict())
    if row is not None:  # what it generates is codes: it begins and pads with none of them
        for name in ("bos_token_id", "pad_token_id", "decoder_start_token_id"):
            setattr(model.generation_config, name, row)


def _generation(model: PreTrainedModel, folder: Path, tokenizer: Ids | None, wishes: Data) -> None:
    from transformers import GenerationConfig

    path = folder / "generation_config.json"
    if not path.is_file():
        own = model.generation_config  # made by the class from the config, whose ids are right
        known = [getattr(own, name, None) for name in ("decoder_start_token_id", "bos_token_id")]
        start = known == [None, None]
        if model.config.is_encoder_decoder and start:
            # As T5's family does. Some generation configs have ids of their own alone.
            own.decoder_start_token_id = getattr(own, "pad_token_id", None)
        return
    try:
        made = GenerationConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        why = overrides.reason(error).replace(f"{folder}/", "")
        raise BuildFault.of(
            f"transformers refuses the source's generation_config.json: {why}", key=("source",)
        ) from None
    data = {name: value for name, value in made.to_dict().items() if value is not None}
    config = model.config.to_dict()
    ids = _inside(data, config) if tokenizer is None else {}
    if tokenizer is not None:
        ids = carry.align(data, tokenizer, wishes, config)
    wished = {name: value for name, value in wishes.items() if is_id(name) and name in data}
    for name, value in {**ids, **wished}.items():
        setattr(made, name, value)
    most = longest(model)
    for name, value in list(vars(made).items()):
        if name == "max_length" and whole(value) and most is not None:
            setattr(made, name, min(value, most))
        elif says(name, "helped generation") and value:
            setattr(made, name, None)
        elif elsewhere(name, value):
            delattr(made, name)
    model.generation_config = made


def _inside(data: Data, config: Data) -> dict[str, Json]:
    """Instead of a generation config's ids that a model without a tokenizer cannot have: the
    config's of that name, or none."""
    rows = vocabulary(config)

    def beyond(value: Json) -> bool:
        inner = [*value.values()] if isinstance(value, Mapping) else value
        several = inner if isinstance(inner, list) else [inner]
        return any(whole(one) and whole(rows) and one >= rows for one in several)

    named = (name for name in data if is_id(name) or isinstance(data[name], Mapping))
    return {name: config.get(name) for name in named if beyond(data[name])}


def for_version_4(folder: Path) -> None:
    """Say a saved config.json also in the keys of transformers 4. Raises BuildFault where that
    version has none for it."""
    path = folder / "config.json"
    data = older.spelled(json.loads(path.read_text(encoding="utf-8")))
    told = older.least(data, {}, {})
    if told.reasons:
        raise BuildFault.of(
            f"transformers {older.FOUR} does not know {', '.join(told.reasons)}",
            key=("compat",),
            hint="leave compat out: the card then names the least version",
        )
    path.write_text(pretty(data), encoding="utf-8")


def longest(model: PreTrainedModel) -> int | None:
    """Tokens of a text that a model has places for; None where its config bounds none.

    What the config of the text says, and the rows of its tables of positions: one with a row for
    padding counts from the next on (RoBERTa's 514 are 512 tokens). A key that may also be
    of what attention sees at once (Bark's block_size) counts where such a table has as many rows.
    """
    import torch

    tables = [
        module
        for name, module in model.named_modules()
        if "position" in name and isinstance(module, torch.nn.Embedding)
    ]
    rows = {table.weight.shape[0] for table in tables}
    lengths = [
        value
        for name, value in heads.text_part(model.config).to_dict().items()
        if whole(value) and value > 0
        if says(name, "places of a text") or (says(name, "places or a window") and value in rows)
    ]
    lengths += [
        value
        for name, value in model.config.to_dict().items()
        if measures(name) == "text" and whole(value)
    ]
    lengths += [
        value - READ_AROUND
        for _, node in configs(model.config.to_dict())
        for name, value in node.items()
        if name == READ and whole(value)
    ]
    lengths += [
        table.weight.shape[0] - table.padding_idx - 1
        for table in tables
        if table.padding_idx is not None
    ]
    return min(lengths, default=None)
