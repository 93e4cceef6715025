"""The chat template and the special tokens that a recipe gives a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault
from tinybuild.files import pretty
from tinybuild.keys import ROLES
from tinybuild.sections import File, Tokenizer
from tinybuild.tokenizer import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = Path(__file__).parent / "templates"
PARTS = "content"  # the start of each: how the parts of a message are written
DEFAULT = "chatml"
NONE = "none"
TEMPLATE, EXTRA = "chat_template.jinja", "extra_special_tokens"
# What a template writes and is a token: <|im_start|>, </tool_call>, [INST], DeepSeek's <｜User｜>.
_TOKEN = re.compile(r"<\|\w+\|>|<｜[^｜\s]+｜>|</?\w+>|\[/?[A-Z_]+\]")


def shipped() -> tuple[str, ...]:
    """The names of the templates that ship with tinybuild."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.jinja") if path.stem != PARTS))


@dataclass(frozen=True, kw_only=True)
class Given:
    """template: None leaves a tokenizer's as it is, "" takes it away. written: the tokens that it
    writes. named: role (pad_token) -> token. others: more special tokens."""

    template: str | None = None
    written: Sequence[str] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[str] = ()

    @classmethod
    def of(cls, section: Tokenizer, inputs: Mapping[str, Path], default: str | None) -> Given:
        """What a recipe's section says; `default` is the name of a template where it says none."""
        told = section.get("chat_template", default)
        template = _template(told, inputs) if told is not None else None
        given = section.get("special_tokens", ())
        named = dict(given) if isinstance(given, Mapping) else {}
        if "pad_token" in section:
            named["pad_token"] = section["pad_token"]
        return cls(
            template=template,
            written=tuple(dict.fromkeys(_TOKEN.findall(template or ""))),
            named=named,
            others=() if isinstance(given, Mapping) else tuple(given),
        )

    def give(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Let a tokenizer have all of it; what its vocabulary lacks is added."""
        from tokenizers import AddedToken

        if self.template is not None:
            tokenizer.chat_template = self.template or None
        own = {f"{role}_token" for role in ROLES}
        tokenizer.add_special_tokens({n: t for n, t in self.named.items() if n in own})
        others = [*self.written, *self.others]
        others += [token for name, token in self.named.items() if name not in own]
        added = [AddedToken(token, normalized=False, special=True) for token in others]
        tokenizer.add_tokens(added, special_tokens=True)
        tokenizer._set_model_specific_special_tokens(
            {name: token for name, token in self.named.items() if name not in own}
        )

    def kept(self, section: Tokenizer, known: Container[str]) -> Tokenizer:
        """A section whose method keeps tokens of a source, these among them. Raises BuildFault for
        those that the source does not have; what a template writes may well be plain text."""
        wanted = [*self.named.values(), *self.others]
        lacking = [token for token in wanted if token not in known]
        if lacking:
            raise BuildFault.of(
                f"the source has no token {', '.join(map(repr, lacking))}",
                key=("tokenizer",),
                hint="name tokens of the source; method: train adds what it does not have",
            )
        wanted += [token for token in self.written if token in known]
        return {**section, "keep": [*section.get("keep", ()), *wanted]} if wanted else section

    def write(self, folder: Path) -> None:
        """Write it into the files of a tokenizer that has the tokens."""
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            path = folder / name
            if path.is_file() or name == "tokenizer_config.json":
                data = {**vocabulary.read(path), **self.named}
                if self.others:
                    data[EXTRA] = [
                        *(items if isinstance(items := data.get(EXTRA), list) else ()),
                        *self.others,
                    ]
                if self.template is not None:
                    data.pop("chat_template", None)
                path.write_text(pretty(data), encoding="utf-8")
        if self.template:
            (folder / TEMPLATE).write_text(self.template, encoding="utf-8")
        elif self.template is not None:
            (folder / TEMPLATE).unlink(missing_ok=True)


def _template(told: str | File, inputs: Mapping[str, Path]) -> str:
    if isinstance(told, str):
        if told == NONE or "{" in told:
            return told if told != NONE else ""
        return "".join((FOLDER / f"{name}.jinja").read_text("utf-8") for name in (PARTS, told))
    path = inputs["fetch"] / "chat_template-0" / Path(told["file"]).name
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        what = f"{told['file']} is not UTF-8 (byte {error.start:,})"
        raise BuildFault.of(what, key=("tokenizer", "chat_template")) from None


def default(folder: Path) -> str | None:
    """The template of a blank tokenizer of the type that a folder's config.json is of: there is one
    for those that go on writing a text, with images or without."""
    from transformers.models.auto import modeling_auto as auto

    config = vocabulary.read(folder / "config.json")
    kind = config.get("model_type")
    writes = (
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )
    if config.get("is_encoder_decoder") or kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return None
    return DEFAULT if any(kind in names for names in writes) else None
