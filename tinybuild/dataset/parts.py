"""Which splits of which configs a dataset section makes, of what, and which rows it stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinybuild.errors import BuildFault, Fault, Finding, did_you_mean

DEFAULT = "default"  # the name that load_dataset gives a config without one
LONGEST = 200  # bytes of a name that files are named after
TRAIN = "train"
OWN = ("configs", "splits", "source", "records", "expand", "seed")  # of the section, not of a part


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split of one config of the dataset that is made.

    config, split: its names; split is None where the source's own name is taken. of_config,
    of_split: what it is taken from; None leaves it to the source (its default config; train, or
    the only split). wish: the section with what is other for this config and split (samples,
    where, images ...). keys: where in the recipe each key of the wish stands, for messages.
    """

    config: str
    split: str | None
    of_config: str | None
    of_split: str | None
    wish: Mapping[str, Any]
    keys: Mapping[str, tuple[str, ...]]

    @property
    def made(self) -> str:
        """ "CONFIG/SPLIT" as the recipe calls them; "CONFIG/" where the split is the source's."""
        return f"{self.config}/{self.split or ''}"

    def named(self, names: Mapping[str, tuple[str, ...]], default: str | None) -> tuple[str, str]:
        """The source's (config, split) that this part is taken from.

        names: config -> splits of the source; default: its default config. Raises BuildFault.
        """
        config = self.of_config
        if config is None:
            config = default if default in names else _only(names)
        if config is None or config not in names:
            raise self._unknown("config", config, names)
        split, known = self.of_split, names[config]
        if split is None:
            split = TRAIN if TRAIN in known else _only(known)
        if split is None or split not in known:
            raise self._unknown("split", split, known)
        for what, name in (("config", config), ("split", split)):
            if len(name.encode()) > LONGEST:
                raise BuildFault.of(
                    f"a {what} of the source has a name of {len(name.encode()):,} bytes, and files "
                    f"are named after it: {name[:20]}...",
                    key=self.keys[what],
                    hint=f"give it a name of at most {LONGEST} bytes in a copy of the source "
                    "(README.md)",
                )
        return config, split

    def _unknown(self, what: str, name: str | None, known: Iterable[str]) -> Fault:
        said = f"the source has no {what} {name}"
        hint = did_you_mean(name or "", known)
        if name is None:
            said = f"the source has several {what}s" + (
                ", none is train" if what == "split" else ""
            )
            hint = f"name one: {', '.join(known)}"
        return BuildFault.of(said, key=self.keys[what], hint=hint)

    def place(self, fault: Fault) -> Fault:
        """The same fault with keys ("dataset", KEY, ...) led to where this part has them."""
        return type(fault)(
            Finding(
                what=finding.what,
                where=finding.where,
                hint=finding.hint,
                key=(*self.keys.get(str(finding.key[1]), finding.key[:2]), *finding.key[2:])
                if len(finding.key) > 1 and finding.key[0] == "dataset"
                else finding.key,
            )
            for finding in fault.findings
        )


def _only(names: Collection[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def parts(section: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts of a dataset section, config by config, in the recipe's order."""
    source = section.get("source", {})
    top = {key: value for key, value in section.items() if key not in OWN}
    made = []
    for config, own in (section.get("configs") or {DEFAULT: None}).items():
        within = ("dataset", "configs", config)
        named = "configs" in section
        own = own or {}
        of_config = own.get("config", source.get("config", config if named else None))
        splits = own.get("splits", section.get("splits"))
        keys: dict[str, tuple[str, ...]] = {key: ("dataset", key) for key in top}
        keys |= {key: (*within, key) for key in own}
        if "config" not in own:
            by_name = named and "config" not in source
            keys["config"] = within if by_name else ("dataset", "source", "config")
        above = _over(top, _without(own, "config", "splits"))
        for split, other in (splits or {None: None}).items():
            at = within if "splits" in own else ("dataset",)
            spot = (*at, "splits", split) if split is not None else ("dataset", "source", "split")
            other = other or {}
            of_split = other.get("split", split if split is not None else source.get("split"))
            made.append(
                Part(
                    config=config,
                    split=split,
                    of_config=of_config,
                    of_split=of_split,
                    wish=_over(above, _without(other, "split")),
                    keys={**keys, "split": spot, **{key: (*spot, key) for key in other}},
                )
            )
    return tuple(made)


# Ways to choose rows, one of which replaces the other.
NUMBERS, AMOUNT = ("rows",), ("samples", "select", "at_most", "where")


def _over(above: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A section with what is other for a part; its own way to choose rows replaces the other."""
    gone: tuple[str, ...] = ()
    if "rows" in own:
        gone = AMOUNT
    elif "samples" in own:
        gone = NUMBERS
    return {**_without(above, *gone), **own}


def _without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


# --- rows by number -------------------------------------------------------------------------------


DIGITS = 18  # of a row's number: it fits 64 bits


def spans(rows: str | int) -> tuple[range, ...]:
    """ "1,4-10" as ranges from 0, ascending, apart from each other. Raises BuildFault."""
    given = []
    for part in str(rows).split(","):
        first, _, last = part.strip().partition("-")
        if len(first) > DIGITS or len(last) > DIGITS:
            raise BuildFault.of("no dataset has so many rows", key=("dataset", "rows"))
        span = range(int(first) - 1, int(last or first))
        if span.start >= span.stop:
            raise BuildFault.of(
                f"the range {part.strip()} runs backwards",
                key=("dataset", "rows"),
                hint=f"write {last}-{first}",
            )
        given.append(span)
    apart: list[range] = []
    for span in sorted(given, key=lambda span: span.start):
        if apart and span.start <= apart[-1].stop:
            apart[-1] = range(apart[-1].start, max(span.stop, apart[-1].stop))
        else:
            apart.append(span)
    return tuple(apart)


def numbers(rows: str | int) -> tuple[int, ...]:
    """ "2,5-7" -> (1, 4, 5, 6): the numbers from 0, in their order, each once."""
    return tuple(number for span in spans(rows) for number in span)


def spelled(rows: list[int]) -> str:
    """[1, 4, 5, 6] -> "2,5-7": the other way; `rows` is sorted."""
    pieces: list[list[int]] = []
    for row in rows:
        if pieces and row == pieces[-1][1] + 1:
            pieces[-1][1] = row
        else:
            pieces.append([row, row])
    return ",".join(str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in pieces)


# --- rows spread evenly ---------------------------------------------------------------------------


def shares(counts: Sequence[int], wanted: int) -> list[int]:
    """How many rows each shard gives: no two differ by more than 1, but that none gives more than
    it has. What does not divide evenly goes to shards that lie evenly apart."""
    given = [0] * len(counts)
    left = wanted
    order = sorted(range(len(counts)), key=lambda index: counts[index])
    while order and counts[order[0]] * len(order) <= left:
        least = order.pop(0)
        given[least] = counts[least]
        left -= counts[least]
    if order:
        # Each of these has more than its even part, so one more of it is there.
        each, more = divmod(left, len(order))
        order.sort()
        extra = set(middles(len(order), more))
        for place, index in enumerate(order):
            given[index] = each + (place in extra)
    return given


def middles(length: int, count: int) -> list[int]:
    """`count` different numbers below `length`, evenly apart, ascending."""
    return [(2 * number + 1) * length // (2 * count) for number in range(count)]
