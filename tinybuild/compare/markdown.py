"""Differences as Markdown, for the text of a pull request or a comment below it.

Names and values come from upstreams: each stands in a code span or a fence, where it is shown and
does nothing.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tinybuild.compare.differences import Comparison, Part
from tinybuild.paths import Json
from tinybuild.progress import count, size
from tinybuild.tensors import Tensor

LIMIT = 60_000  # characters of a comment; GitHub takes 65,536, the Hub as many
BUNDLES = 200  # that are named
ROWS, TOKENS, LINES, LETTERS = 25, 20, 60, 80  # of a table, a list, a diff, a value
ARROW = " → "
Rows = Iterable[Sequence[str]]


def markdown(comparisons: Sequence[Comparison], limit: int = LIMIT) -> str:
    """All bundles that differ: a table of them, then each by itself, as far as there is room."""
    changed = [one for one in comparisons if one.files or one.before is None]
    gone = [code(one.name) for one in comparisons if one.after is None]
    text = f"{summary(comparisons)}\n"
    if changed:
        rows = [(code(one.name), _bytes(one), _counts(one)) for one in changed]
        text += "\n" + _table(("bundle", "size", "what differs"), rows, most=BUNDLES)
    if gone:
        more = " ..." if len(gone) > BUNDLES else ""
        text += f"\ngone: {', '.join(gone[:BUNDLES])}{more}\n"
    shared = list(_shared(changed))
    text += "\nwhy, of several bundles:\n\n" + "\n".join(shared) + "\n" if shared else ""
    told = [one for one in changed if one.files]
    for left, one in zip(range(len(told), 0, -1), told, strict=True):
        part = details(one)
        if len(text) + len(part) > limit:
            return f"{text}\nThere is no room here for the details of {left} bundles.\n"
        text += part
    return text


def _shared(changed: Sequence[Comparison]) -> Iterator[str]:
    """The causes that more than one bundle has, those of most bundles first."""
    times = Counter((cause.kind, cause.what) for one in changed for cause in one.causes)
    for (kind, what), number in times.most_common(ROWS):
        if number > 1:
            yield f"- {kind}: {what if kind == 'unknown' else code(what)} ({number} bundles)"


def summary(comparisons: Sequence[Comparison]) -> str:
    """How many bundles differ, in one line."""
    kinds = {
        "the same": [one for one in comparisons if one.same],
        "changed": [one for one in comparisons if one.before and one.after and not one.same],
        "new": [one for one in comparisons if one.before is None],
        "gone": [one for one in comparisons if one.after is None],
    }
    told = ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items() if found)
    return f"{len(comparisons)} bundle{'s' * (len(comparisons) != 1)}: {told or 'none'}"


def details(one: Comparison) -> str:
    """All that is told of one bundle, folded; nothing of one that is new, gone or the same."""
    if not one.files:
        return ""
    parts = [made for make in SECTIONS.values() if (made := make(one))]
    inner = "\n\n".join([*_why(one), *parts, _files(one)])
    title = f"<code>{html.escape(one.name)}</code>: {_counts(one)}"
    return f"\n<details><summary>{title}</summary>\n\n{inner}\n\n</details>\n"


def code(text: str, most: int = LETTERS) -> str:
    """A code span that shows this text, also one with backticks and pipes in it."""
    text = re.sub(r"\s+", " ", text)
    text = text if len(text) <= most else text[: most - 3] + "..."
    text = text.replace("|", "\\|")
    runs = {len(run) for run in re.findall("`+", text)}
    fence = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}" if text.strip() else "(blank)"


def _value(value: Json) -> str:
    return "-" if value is None else code(json.dumps(value, ensure_ascii=False))


def _text(value: str | None) -> str:
    return code(value) if value else "-"


def _bytes(one: Comparison) -> str:
    if one.before is None or one.after is None:
        return f"new, {size(one.after)}"
    if one.before == one.after:
        return size(one.after)
    return f"{size(one.before)}{ARROW}{size(one.after)} ({one.after - one.before:+,} B)"


def _counts(one: Comparison) -> str:
    told = ", ".join(f"{part} {count(number)}" for part, number in one.counts.items())
    return told or (f"{len(one.files)} files" if one.files else "")


def _table(head: Sequence[str], rows: Rows, most: int = ROWS) -> str:
    """A table of the first rows, and how many more there are."""
    every = list(rows)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *every[:most])]
    more = f"\n\n... and {count(len(every) - most)} more" if len(every) > most else ""
    return "\n".join(lines) + more + "\n"


def _titled(title: str, head: Sequence[str], rows: Rows) -> str:
    every = list(rows)
    return f"**{title}**\n\n{_table(head, every)}".rstrip() if every else ""


def _why(one: Comparison) -> Iterator[str]:
    lines = [
        f"- {cause.kind}: {code(cause.what) if cause.kind != 'unknown' else cause.what}"
        + (f" ({', '.join(cause.parts)})" if cause.parts else "")
        for cause in one.causes
    ]
    if lines:
        yield "**why**\n\n" + "\n".join(lines)


def _settings(*parts: Part) -> Callable[[Comparison], str]:
    def section(one: Comparison) -> str:
        found = [setting for setting in one.settings if setting.part in parts]
        rows = (
            (
                code(s.file),
                code(s.key),
                _value(s.before),
                _value(s.after),
                s.reason and code(s.reason),
            )
            for s in found
        )
        return _titled(", ".join(parts), ("file", "key", "before", "after", "why"), rows)

    return section


def _vocabulary(one: Comparison) -> str:
    lines = []
    for file in one.vocabularies:
        told = f"{code(file.file)}: {count(file.before)}{ARROW}{count(file.after)} tokens"
        moved = [f"{m.token} {m.before}{ARROW}{m.after}" for m in file.moved]
        every = {"added": file.added, "removed": file.removed, "with another id": moved}
        for what, tokens in every.items():
            if tokens:
                shown = ", ".join(map(code, tokens[:TOKENS]))
                more = " ..." if len(tokens) > TOKENS else ""
                told += f"\n  - {count(len(tokens))} {what}: {shown}{more}"
        lines.append(f"- {told}")
    return "**vocabulary**\n\n" + "\n".join(lines) if lines else ""


def _templates(one: Comparison) -> str:
    made = []
    for template in one.templates:
        text = "\n".join(template.diff[:LINES])
        more = len(template.diff) - LINES
        text += f"\n... and {more} more lines" if more > 0 else ""
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or [""]))
        made.append(f"**chat template** {code(template.name)}\n\n{fence}diff\n{text}\n{fence}")
    return "\n\n".join(made)


def _tensors(one: Comparison) -> str:
    found = one.tensors
    if found is None or not found.changed:
        return ""
    rows = ((code(change.name), *_tensor(change.before, change.after)) for change in found.changed)
    title = f"tensors: {count(len(found.changed))} of {count(len(found.changed) + found.same)}"
    return _titled(title, ("name", "before", "after"), rows)


def _tensor(before: Tensor | None, after: Tensor | None) -> tuple[str, str]:
    """Both sides: shape and dtype, and of equal ones that the bytes are others."""
    told = [f"{code(one.dtype)} {list(one.shape)}" if one else "-" for one in (before, after)]
    if before and after and told[0] == told[1]:
        return told[0], f"other values (sha256 {before.sha256[:8]}{ARROW}{after.sha256[:8]})"
    return told[0], told[1]


def _dataset(one: Comparison) -> str:
    rows = []
    for split in one.rows:
        changed = "not compared one by one"
        if split.added is not None and split.removed is not None:
            changed = f"{count(split.added)} new, {count(split.removed)} gone"
        columns = ", ".join(
            f"{code(column.name)} {_text(column.before)}{ARROW}{_text(column.after)}"
            for column in split.columns
        )
        rows.append((code(split.split), count(split.before), count(split.after), changed, columns))
    return _titled("dataset", ("split", "rows before", "after", "by value", "columns"), rows)


def _checks(one: Comparison) -> str:
    rows = []
    for check in one.checks:
        states = code(check.before or "new"), code(check.after or "gone")
        state = states[1] if states[0] == states[1] else ARROW.join(states)
        told = "; ".join(
            f"{code(n.key)} {_value(n.before)}{ARROW}{_value(n.after)}" for n in check.values[:6]
        )
        more = "; ..." if len(check.values) > 6 else ""
        rows.append((code(check.name), state, told + more))
    return _titled("checks", ("check", "state", "measured"), rows)


def _expected(one: Comparison) -> str:
    rows = [
        (
            code(change.output),
            _value(change.before),
            _value(change.after),
            "other places or choices" if change.far is None else f"{change.far:.3g} of the largest",
        )
        for change in one.expected
    ]
    return _titled("expected of a port", ("output", "before", "after", "apart"), rows)


def _files(one: Comparison) -> str:
    rows = [
        (code(file.path), *(size(side and side["size"]) for side in (file.before, file.after)))
        for file in one.files
    ]
    text = _titled(f"files: {len(one.files)}", ("path", "before", "after"), rows)
    return text + "".join(f"\n\n- compared by digest only: {code(what)}" for what in one.unread)


# The sections of a bundle, in the order in which people read them.
SECTIONS: Mapping[str, Callable[[Comparison], str]] = {
    "config": _settings("config", "ids", "processor"),
    "tokenizer": _settings("tokenizer"),
    "vocabulary": _vocabulary,
    "template": _templates,
    "tensors": _tensors,
    "dataset": _dataset,
    "expected": _expected,
    "checks": _checks,
}
