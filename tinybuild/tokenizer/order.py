"""The ids of special tokens, where a family has them behind all that is learned."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tinybuild.keys import ROLES
from tinybuild.tokenizer import tokenizer_json
from tinybuild.tokenizer.tokenizer_json import Document, TokenizerJson

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def behind(made: PreTrainedTokenizerBase) -> None:
    """Number the special tokens of a byte-level vocabulary that have no common role (<|im_start|>,
    <|en|>, <image>) behind all others, as GPT-2's descendants do: Whisper takes what comes behind
    its last special token for times. Training numbers them first."""
    from tokenizers import Tokenizer

    if not made.is_fast:
        return
    backend: Document = json.loads(made.backend_tokenizer.to_str())
    if not tokenizer_json.byte_level(TokenizerJson(data=backend)):
        return
    common = {str(getattr(made, f"{role}_token", None)) for role in ROLES}
    added, ids = backend["added_tokens"], made.get_vocab()
    known = backend["model"]["vocab"]
    late = [t["content"] for t in added if t["special"] and t["content"] not in common]
    late = [token for token in late if token in known]
    # What the model does not hold has no place but behind it.
    late += [t["content"] for t in added if t["content"] not in known]
    ranked = sorted(ids.keys() - {*late}, key=ids.__getitem__)
    new = {token: number for number, token in enumerate([*ranked, *late])}
    model = backend["model"]
    model["vocab"] = {token: new[token] for token in new if token in model["vocab"]}
    for token in added:
        token["id"] = new[token["content"]]
    added.sort(key=lambda token: int(token["id"]))
    post_processor = backend.get("post_processor")
    backend["post_processor"] = tokenizer_json.renumbered(post_processor, lambda _, t: new[t])
    made._tokenizer = Tokenizer.from_str(json.dumps(backend))
