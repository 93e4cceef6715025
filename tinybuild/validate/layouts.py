"""The layouts of rows that training scripts know by their columns: chats, answers, preferences."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

from tinybuild.features import content, fields, holds, items

if TYPE_CHECKING:
    from datasets import Features
    from datasets.features.features import FeatureType

Message: TypeAlias = Mapping[str, Any]  # role, content (a text or parts), tool_calls ...
Chat: TypeAlias = tuple[Message, ...]
Speech: TypeAlias = "str | Chat"
Media: TypeAlias = Mapping[str, object]  # a value of an image or a sound: its bytes, not decoded
Piece: TypeAlias = "str | Media"

TOOLS = "tools"  # the column of what a model may call, beside a chat
MESSAGE = ("role", "content")
TURN = ("from", "value")  # ShareGPT's names for them
ROLES = {
    "human": "user",
    "gpt": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
}
SENSES = {"image": "image", "image_url": "image", "audio": "audio", "audio_url": "audio"}
MARK = re.compile(r"(<image>|<audio>)")  # where LLaVA's texts have an image or a sound


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Columns that belong together: what is given, and what is learned after it.

    prompt: the columns of what is given, of which all but the first may be missing; none is needed
    where it is `bare`. answer: what is learned. worse: an answer that the other is preferred to.
    wanted: whether the answer is a good one.
    """

    name: str
    prompt: tuple[str, ...]
    answer: str
    worse: str = ""
    wanted: str = ""
    bare: bool = False

    def fits(self, features: Features, spoken: Collection[str]) -> bool:
        """Whether the columns are there; `spoken` are those of texts and of chats."""
        needs = {self.answer, self.worse or self.answer, *(() if self.bare else self.prompt[:1])}
        told = not self.wanted or getattr(features.get(self.wanted), "dtype", "") == "bool"
        return needs <= {*spoken} and told

    def speeches(self, row: Mapping[str, Any]) -> tuple[Speech, Speech, Speech]:
        """What is given, what is learned after it, and what is worse; "" or () for nothing.

        What two answers begin with alike is given, too: a whole chat may stand in both.
        """
        given = [part for name in self.prompt if (part := speech(row.get(name)))]
        answer, worse = speech(row.get(self.answer)), speech(row.get(self.worse))
        if any(isinstance(part, tuple) for part in (*given, answer, worse)):
            said = [message for part in given for message in _chat(part, "user")]
            return _chats(said, _chat(answer, "assistant"), _chat(worse, "assistant"))
        between = "\n\n" if len(self.prompt) > 1 else ""
        prompt = "".join(text(part) + between for part in given)
        return _texts(prompt, text(answer), text(worse))


# The first that fits counts.
LAYOUTS = (
    Layout(name="preference", prompt=("prompt",), answer="chosen", worse="rejected", bare=True),
    Layout(name="KTO", prompt=("prompt",), answer="completion", wanted="label"),
    Layout(name="prompt and completion", prompt=("prompt",), answer="completion"),
    Layout(name="alpaca", prompt=("instruction", "input"), answer="output"),
)


def _texts(prompt: str, answer: str, worse: str) -> tuple[str, str, str]:
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(answer, worse, strict=False))
    count = "".join(letter for letter, _ in alike).rfind(" ") + 1
    return prompt + answer[:count], answer[count:], worse[count:]


def _chats(given: Sequence[Message], answer: Chat, worse: Chat) -> tuple[Chat, Chat, Chat]:
    if len(given) == 1 and given[0] in answer[:1]:
        given = ()  # the chat begins with it
    pairs = zip(answer[:-1], worse[:-1], strict=False)
    count = len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
    return (*given, *answer[:count]), answer[count:], worse[count:]


def _chat(said: Speech, role: str) -> Chat:
    if isinstance(said, tuple):
        return said
    return ({"role": role, "content": said},) if said else ()


# --- values ---------------------------------------------------------------------------------------


def read(value: Any, feature: FeatureType) -> Any:
    """A value of a row, with what stands in it as JSON read."""
    if value is None or not holds(feature, lambda inner: content(inner) == "raw"):
        return value
    if content(feature) == "raw":
        return json.loads(value)
    if (inner := items(feature)) is not None:
        return [read(item, inner) for item in value]
    return {name: read(value.get(name), part) for name, part in fields(feature).items()}


def is_chat(feature: FeatureType) -> bool:
    """Whether a feature is a list of messages, in either's words."""
    inner = items(feature)
    return inner is not None and any({*names} <= {*fields(inner)} for names in (MESSAGE, TURN))


def speech(value: object) -> Speech:
    """A text, or the messages of a chat; "" for anything else."""
    return value if isinstance(value, str) else chat(value) or ""


def chat(value: object) -> Chat:
    """The messages of a list of them, in the words of chat templates; () for anything else."""
    said = [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
    return tuple(_message(item) for item in said if in_turns(item) or "role" in item)


def in_turns(item: object) -> bool:
    """Whether a message is in ShareGPT's words."""
    return isinstance(item, Mapping) and {*TURN} <= {*item}


def _message(item: Message) -> Message:
    if in_turns(item):
        role = item["from"] or "human"
        return {"role": ROLES.get(role, role), "content": item["value"] or ""}
    known: Message = bare(item)
    said = known.get("content", "")
    if isinstance(said, list) and not any(part.get("type") in SENSES for part in said):
        said = " ".join(part.get("text", "") for part in said)
    return {**known, "role": known.get("role", "user"), "content": said}


def bare(value: Any) -> Any:
    """JSON data without what is null, which Parquet writes for each key that another row has."""
    if isinstance(value, Mapping):
        return {name: bare(item) for name, item in value.items() if item is not None}
    return [bare(item) for item in value if item is not None] if isinstance(value, list) else value


def tools(value: object) -> list[Any]:
    """What a row's column of tools says, which may be JSON in a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    return bare(value) if isinstance(value, list) else []


def text(said: Speech) -> str:
    """The texts of a speech, joined."""
    if isinstance(said, str):
        return said
    return " ".join(part for _, part in _parts(said) if isinstance(part, str))


def flat(said: Chat) -> list[Message]:
    """Messages whose contents are texts."""
    return [{**message, "content": text((message,))} for message in said]


def _parts(said: Chat) -> Iterator[tuple[str, Any]]:
    """(sense, a text or a value of media, None for the row's next) in their order."""
    for message in said:
        told = message["content"]
        for part in [{"text": told}] if isinstance(told, str) else told:
            sense = SENSES.get(part.get("type", ""), "text")
            value = part.get(sense)
            there = isinstance(value, str) if sense == "text" else "bytes" in (value or ())
            yield sense, value if there else None


def pieces(
    said: Speech, media: Mapping[str, Sequence[Media]]
) -> tuple[list[tuple[str, Piece]], Speech]:
    """(sense, what) of texts, images and sounds in their order, and the chat with these as parts.

    A row's media go where the messages have them, and what is left of them before what the first
    user says.
    """
    left = {sense: [*values] for sense, values in media.items()}
    chat = _chat(said, "user")
    placed = [[*_placed(message, left)] for message in chat]
    rest: list[tuple[str, Piece]] = [(sense, v) for sense, values in left.items() for v in values]
    first = next((n for n, message in enumerate(chat) if message["role"] == "user"), 0)
    if rest:
        placed[first:first] = [rest + placed.pop(first)] if placed else [rest]
    found = [piece for pieces in placed for piece in pieces]
    if isinstance(said, str) or all(sense == "text" for sense, _ in found):
        return found, said
    told = [[_part(sense, value) for sense, value in pieces] for pieces in placed]
    parted = zip(chat, told, strict=False)
    return found, tuple({**message, "content": parts} for message, parts in parted)


def _placed(message: Message, left: Mapping[str, list[Media]]) -> Iterator[tuple[str, Piece]]:
    for sense, value in _parts((message,)):
        if sense != "text":
            value = value or (left[sense].pop(0) if left.get(sense) else None)
            yield from [(sense, value)] if value else []
            continue
        for piece in MARK.split(value) if value else ():
            marked = piece[1:-1] if MARK.fullmatch(piece) else "text"
            if left.get(marked):
                yield marked, left[marked].pop(0)
            elif piece:
                yield "text", piece


def _part(sense: str, value: Piece) -> Mapping[str, Piece]:
    return {"type": sense, sense: value}


def shortened(said: Chat, most: int) -> list[Message]:
    """The messages as processors' chat templates want them: in parts, with marks for the media; of
    their texts the last characters, so many."""
    made = list[Message]()
    for message in reversed(said):
        parts = list[Mapping[str, str]]()
        for sense, value in reversed([*_parts((message,))]):
            kept = (value or "")[-most:] if sense == "text" and most else ""
            parts.append({"type": "text", "text": kept} if sense == "text" else {"type": sense})
            most -= len(kept)
        made.append({**message, "content": parts[::-1]})
    return made[::-1]


def joined(prompt: Speech, answer: Speech) -> Speech:
    """A prompt and its answer as one."""
    if isinstance(prompt, str) and isinstance(answer, str):
        return prompt + answer
    return (*_chat(prompt, "user"), *_chat(answer, "assistant"))
