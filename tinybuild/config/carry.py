"""Token ids in a config: every id goes on meaning the token it meant in the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tinybuild.errors import BuildFault, Finding
from tinybuild.facts import Ids
from tinybuild.keys import (
    NAMED,
    NAMES,
    ROLES,
    STAND_INS,
    START,
    is_code,
    is_id,
    reads_text,
    replaced,
    role,
    says,
    vocabulary,
)
from tinybuild.paths import Data, Json, Path, mapping, whole

# The tokens that stand in for one that a blank source's config names and its family does not have:
# GPT-2 begins texts with the token that ends them.
ENDS = ("eos", "pad", "bos", "unk")


def sizes(data: Data, tokenizer: Ids) -> dict[str, Json]:
    """Overrides that give a config tree (JSON data) the tokenizer's vocabulary sizes.

    Each key that counts the rows of the text follows: those that the tokenizer's class has a size
    of its own for, and whatever is as large as the text's vocabulary in the source (a decoder's).
    Where the tokenizer is the source's own (`keep`), a larger size stays: embeddings are often
    padded.
    """
    return _sizes(data, tokenizer, vocabulary(data))


def _reads(name: str, data: Data) -> bool:
    """Whether a part of a config reads the text's ids, however many rows it has in the source: what
    stands beside the text, and the text's part where the whole counts rows too (Ovis 2's head)."""
    return name in NAMES["beside text"] or (name in NAMES["text alone"] and "vocab_size" in data)


def _sizes(data: Data, tokenizer: Ids, text: Json, *, beside: bool = False) -> dict[str, Json]:
    result: dict[str, Json] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            inner = _sizes(value, tokenizer, text, beside=_reads(name, data))
            if inner:
                result[name] = inner
        elif whole(value):
            follows = says(name, "rows of text") and (value == text or beside)
            if name in tokenizer.sizes and name != "vocab_size":
                new = tokenizer.sizes[name]
            elif follows or says(name, "ids of text"):
                new = tokenizer.sizes["vocab_size"]
            else:
                continue  # another vocabulary: the codes of an audio decoder, say
            result[name] = max(new, value) if tokenizer.keep else new
    return result


def align(
    data: Data,
    tokenizer: Ids,
    given: Data,
    fallback: Data | None = None,
    *,
    padded: bool = False,
) -> dict[str, Json]:
    """Overrides that bring every token id of a config tree (JSON data) in line with a tokenizer.

    An id is looked up, in this order, by its token (`moved`), by its role (eos_token_id is the
    tokenizer's eos), by another role that had the same id in the source (T5 starts its decoder with
    the padding token), in `fallback` (a generation config's is the config), and is otherwise the
    unknown token where the recipe says so (`missing`), one that ends or fills a text where the
    source's ids mean nothing, or an error, unless the recipe sets it (`given`). Lists drop the ids
    whose token is gone. padded: the model's class wants a token to pad with, which is the one that
    ends a text where the tokenizer has none. Raises BuildFault.
    """
    if padded and "pad" not in tokenizer.special and "eos" in tokenizer.special:
        special = {**tokenizer.special, "pad": tokenizer.special["eos"]}
        tokenizer = replace(tokenizer, special=special)
    carrying = _Carrying(top=data, tokenizer=tokenizer, text=vocabulary(data))
    result = carrying.node(data, given)
    findings = []
    for finding in carrying.findings:
        name = str(finding.key[-1])
        known = fallback.get(name) if fallback is not None else None
        if known is None:
            findings.append(finding)
        else:
            result[name] = known
    if findings:
        raise BuildFault(findings)
    return result


@dataclass(frozen=True, kw_only=True)
class _Carrying:
    """Carrying ids over, at `path` of the config tree `top`, whose text's vocabulary is `text`."""

    top: Data
    tokenizer: Ids
    text: Json
    path: Path = ()
    findings: list[Finding] = field(default_factory=list)

    def node(self, data: Data, given: Data) -> dict[str, Json]:
        """Overrides for one config and those in it."""
        result: dict[str, Json] = {}
        above = mapping(self.top, self.path[:-1])
        reads = bool(self.path) and _reads(self.path[-1], above)
        if not reads_text(data, self.text) and not reads:
            return result
        special = self.tokenizer.special
        startless = data.get("is_encoder_decoder") and data.get(START) is None
        if startless and START not in given and "bos" not in special and "pad" in special:
            # A decoder without a start id starts with bos; T5's family has none and starts with pad
            result[START] = special["pad"]
        for name, value in data.items():
            if not is_id(name) and isinstance(value, Mapping):
                below = replace(self, path=(*self.path, name))
                inner = below.node(value, mapping(given, (name,)))
                if inner:
                    result[name] = inner
            elif is_id(name) and name not in given and not is_code(name, data):
                new = self.open(name) if value is None else self.value(name, value, data)
                if new is not None:
                    result[name] = new
        return result

    def open(self, name: str) -> int | None:
        """The id of a key that has none in the source.

        Of the other roles a config may well have none (cls): not so of a processor's tokens.
        """
        sure = role(name) in ("bos", "eos", "pad") or role(name) not in ROLES
        return self.tokenizer.special.get(role(name)) if sure else None

    def value(self, name: str, value: Json, data: Data) -> Json:
        """The value of a key with the new ids; None, and a finding, where a token is gone."""
        if name in NAMED and self.tokenizer.missing == "any":
            names = mapping(value)
            return {word: self.special(word) for word in names if self.special(word) is not None}
        lost: list[int] = []

        def new(old: int) -> int | None:
            number = self.id(old, name, data)
            if number is None and self.tokenizer.missing == "unk":
                number = self.tokenizer.special.get("unk")
            if number is None:
                lost.append(old)
            return number

        made = replaced(name, value, new)
        if not lost or (isinstance(made, list | dict) and made):
            return made
        if self.tokenizer.missing == "any":
            return made if isinstance(made, list | dict) else self.ending()
        key = ".".join((*self.path, name))
        what = f"{key} is {value} in the source, and the tokenizer has no token that it could mean"
        where = ("model", "config", *self.path, name)
        hint = f"set it in the recipe: model.config.{key}"
        self.findings.append(Finding(what=what, key=where, hint=hint))
        return None

    def ending(self) -> int | None:
        numbers = (self.special(part) for part in ENDS)
        return next((number for number in numbers if number is not None), None)

    def id(self, old: int, name: str, data: Data) -> int | None:
        """The id that `old` has become, or None. What is not an id (-1, -200) stays."""
        if old < 0:
            return old
        if str(old) in self.tokenizer.moved:
            return self.tokenizer.moved[str(old)]
        by_role = self.special(role(name))
        if by_role is not None:
            return by_role
        for node in (data, self.top):
            for other in ("pad", "eos", "bos", "sep", "cls", "mask", "unk"):
                known = node.get(f"{other}_token_id")
                if known == old or (isinstance(known, list) and old in known):
                    by_role = self.special(other)
                    if by_role is not None:
                        return by_role
        return None

    def special(self, part: str) -> int | None:
        """The tokenizer's token for a role, or the one that its family uses for it."""
        special = self.tokenizer.special
        return special[part] if part in special else special.get(STAND_INS.get(part, ""))
