"""Token ids in a config: every id goes on meaning the token it meant in the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinybuild.errors import BuildFault, Finding
from tinybuild.keys import ROLES, is_id, replaced

# What a family calls the token at the end (or start) of a sequence when it has no eos (or bos).
STAND_INS = {"eos": "sep", "bos": "cls"}
START = "decoder_start_token_id"
# The sub-configs that hold the text's vocabulary where the whole has none.
TEXTS = (
    *("text_config", "llm_config", "language_config", "decoder", "thinker_config", "vlm_config"),
)


def sizes(data: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides that give a config tree (JSON data) the tokenizer's vocabulary sizes.

    `tokenizer` holds `sizes` (config key -> number of tokens) and `keep` (the source's size may
    stay when it is larger: embeddings are often padded).
    """
    vocabulary = _vocabulary(data)
    return _sizes(data, tokenizer, vocabulary)


def _vocabulary(data: Mapping[str, Any]) -> Any:
    """The size of the text vocabulary: the config's own, or its text config's."""
    if "vocab_size" in data:
        return data["vocab_size"]
    for name in TEXTS:
        if isinstance(data.get(name), Mapping):
            return _vocabulary(data[name])
    return None


def _sizes(
    data: Mapping[str, Any], tokenizer: Mapping[str, Any], vocabulary: Any
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            inner = _sizes(value, tokenizer, vocabulary)
            if inner:
                result[name] = inner
        elif name in tokenizer["sizes"] and isinstance(value, int):
            if name == "vocab_size" and value != vocabulary:
                continue  # another vocabulary: the codes of an audio decoder, say
            new = tokenizer["sizes"][name]
            result[name] = max(new, value) if tokenizer["keep"] else new
    return result


def align(
    data: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    given: Mapping[str, Any],
    fallback: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Overrides that bring every token id of a config tree (JSON data) in line with a tokenizer.

    `tokenizer` holds `special` (role -> id) and `moved` (the source's id as text -> the new id, for
    the ids whose token is known). An id is looked up, in this order, by its token, by its role
    (eos_token_id is the tokenizer's eos), by another role that had the same id in the source
    (T5 starts its decoder with the padding token), in `fallback` (a generation config's is the
    config), and is otherwise the unknown token where the recipe says so (`missing`), or an error,
    unless the recipe sets it (`given`). Lists drop the ids whose token is gone. Raises BuildFault.
    """
    findings: list[Finding] = []
    result = _align(data, data, tokenizer, given, _vocabulary(data), (), findings)
    if fallback is not None:
        kept = []
        for finding in findings:
            name = str(finding.key[-1])
            if fallback.get(name) is not None:
                result[name] = fallback[name]
            else:
                kept.append(finding)
        findings = kept
    if findings:
        raise BuildFault(findings)
    return result


def _role(name: str, special: Mapping[str, int]) -> int | None:
    role = name.removesuffix("_id").removesuffix("_index").removesuffix("_token")
    if role in special:
        return special[role]
    return special.get(STAND_INS.get(role, ""))


def _align(
    data: Mapping[str, Any],
    top: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    given: Mapping[str, Any],
    vocabulary: Any,
    path: tuple[str, ...],
    findings: list[Finding],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if data.get("vocab_size", vocabulary) != vocabulary:
        return result
    special = tokenizer["special"]
    startless = data.get("is_encoder_decoder") and data.get(START) is None and START not in given
    if startless and "bos" not in special and "pad" in special:
        # A decoder without a start id starts with bos; T5's family has none and starts with pad.
        result[START] = special["pad"]
    for name, value in data.items():
        if isinstance(value, Mapping) and not is_id(name):
            below = given.get(name)
            below = below if isinstance(below, Mapping) else {}
            inner = _align(value, top, tokenizer, below, vocabulary, (*path, name), findings)
            if inner:
                result[name] = inner
            continue
        if not is_id(name) or name in given:
            continue
        if value is None:
            # Of the other roles a config may well have none (cls): not so of a processor's tokens.
            role = name.removesuffix("_id").removesuffix("_index").removesuffix("_token")
            sure = role in ("bos", "eos", "pad") or role not in ROLES
            if sure and tokenizer["special"].get(role) is not None:
                result[name] = tokenizer["special"][role]
            continue
        lost: list[int] = []

        def new(old: int, name: str = name, lost: list[int] = lost) -> int | None:
            number = _new(old, name, data, top, tokenizer)
            if number is None and tokenizer.get("missing") == "unk":
                number = special.get("unk")
            if number is None:
                lost.append(old)
            return None if number is None else int(number)

        made = replaced(name, value, new)
        if not lost or (isinstance(made, list | dict) and made):
            result[name] = made
            continue
        findings.append(
            Finding(
                what=f"{'.'.join((*path, name))} is {value} in the source, "
                "and the tokenizer has no token that it could mean",
                key=("model", "config", *path, name),
                hint=f"set it in the recipe: model.config.{'.'.join((*path, name))}",
            )
        )
    return result


def _new(
    old: Any,
    name: str,
    data: Mapping[str, Any],
    top: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
) -> Any:
    """The id that `old` has become, or None. Values that are no ids (-1, -200) stay."""
    if not isinstance(old, int) or isinstance(old, bool) or old < 0:
        return old
    moved, special = tokenizer["moved"], tokenizer["special"]
    if str(old) in moved:
        return moved[str(old)]
    by_role = _role(name, special)
    if by_role is not None:
        return by_role
    for node in (data, top):
        for other in ("pad", "eos", "bos", "sep", "cls", "mask", "unk"):
            known = node.get(f"{other}_token_id")
            if known == old or (isinstance(known, list) and old in known):
                by_role = _role(f"{other}_token_id", special)
                if by_role is not None:
                    return by_role
    return None
