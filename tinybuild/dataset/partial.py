"""The part of a repository's dataset that a recipe needs: only the bytes that hold its rows.

What is fetched lies in one folder with a layout.json, which says how to read it; whoever reads it
need not know of the repository. {"version": 1, "configs": {CONFIG: {"module", "options",
"features", "splits": {SPLIT: [files]}}}, "default": CONFIG, "about": {license, ...}, "rows": {PART:
"1,4-10"}, "read": {bytes, limit, parts}}. `rows` says, for parts of the recipe (`Part.made`), which
rows of what lies here were chosen (numbers from 1), where the numbers of the recipe, or a draw
among all rows of the source, would mean nothing here: these are to be taken instead of samples,
select and rows. `read` is what the facts say too.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tinybuild.dataset import discover
from tinybuild.dataset.archives import KEY
from tinybuild.dataset.formats import FORMATS, counts, hold_texts, own
from tinybuild.dataset.groups import Choice, Groups
from tinybuild.dataset.heads import Heads, first
from tinybuild.dataset.parts import Part, parts
from tinybuild.dataset.ranged import Repository, Spent, called, left
from tinybuild.dataset.rows import Config, Open
from tinybuild.dataset.suffixes import BESIDE, CARDS, LAYOUT
from tinybuild.errors import BuildFault, Fault
from tinybuild.files import pretty
from tinybuild.paths import Data, Json

LARGEST_CARD = 10_000_000  # bytes; the largest dataset_infos.json known has 3 MB
_NO_ZIP = b"PK\5\6" + bytes(18)  # a zip file without members


def fetch(files: Repository, section: Data, out: Path, seed: int) -> dict[str, Json]:
    """Fetch the rows that a dataset section asks for into `out`, which is made; what was read.

    Read: bytes, limit (bytes), parts ([{config, split, rows looked at, of how many}], as far as
    known). Raises BuildFault, and what the repository raises.
    """
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".ranges-") as scratch:
        work = _Fetch(files=files, section=section, out=out, scratch=Path(scratch), seed=seed)
        try:
            layout = work.make()
        except Spent:
            raise BuildFault.of(
                f"max_read ({files.limit:,} bytes) is spent before the rows asked for were read",
                key=("dataset", "source", "max_read"),
                hint="raise dataset.source.max_read, or ask for fewer rows",
            ) from None
    read: dict[str, Json] = {"bytes": files.used, "limit": files.limit, "parts": work.looked}
    (out / LAYOUT).write_text(pretty({**layout, "read": read}), encoding="utf-8")
    return read


class Shown:
    """A repository's files, as `discover` wants them: empty ones, but for the cards."""

    strict = False

    def __init__(self, files: Repository):
        self.files, self.label = files, files.label
        self.configs, self.about = files.configs, files.about
        for name in files.sizes:
            if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
                what = f"{self.label} holds a file whose name leads out of a folder: {name!r}"
                raise BuildFault.of(what, key=KEY, hint="take a revision without it")
        self.names: Sequence[str] = sorted(n for n in files.sizes if not n.endswith(".py"))
        formats = {name: own(name) for name in self.names}
        self.own: Mapping[str, str] = {name: f for name, f in formats.items() if f is not None}
        self.cards: dict[str, bytes] = {}
        if not any(counts(name) or PurePosixPath(name).name in BESIDE for name in self.names):
            raise discover.nothing(self.label, sorted(files.sizes))

    def called(self, name: str) -> str:
        return called(self.files, name)

    def _bytes(self, name: str) -> bytes:
        """A card's bytes; read once."""
        size = self.files.sizes[name]
        if size > LARGEST_CARD:
            raise BuildFault.of(f"{self.called(name)} has {size:,} bytes", key=KEY)
        if name not in self.cards:
            self.cards[name] = self.files.read(name, 0, size)
        return self.cards[name]

    def text(self, name: str) -> str:
        return self._bytes(name).decode()

    def put(self, name: str, target: Path) -> None:
        stub = _NO_ZIP if name.endswith(".zip") else b""
        target.write_bytes(self._bytes(name) if name in CARDS else stub)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What was fetched of a split: its files below the folder, and the format of these."""

    names: tuple[str, ...]
    module: str


@dataclass(frozen=True, kw_only=True)
class _Fetch:
    """Fetches; `looked`: what was looked at of each part, for the facts."""

    files: Repository
    section: Data
    out: Path
    scratch: Path
    seed: int
    looked: list[Json] = field(default_factory=list)
    rows: dict[str, Json] = field(default_factory=dict)

    def make(self) -> dict[str, Json]:
        """The layout of what was fetched."""
        # The library takes the name of a folder of texts or images for its own.
        scratch = self.scratch / re.sub(r"\W", "_", self.files.label.rpartition("/")[2])
        scratch.mkdir()
        with discover.contents(Shown(self.files), scratch) as contents:
            wanted: dict[tuple[str, str], list[Part]] = {}
            for part in parts(self.section):
                wanted.setdefault(part.named(contents, contents.default), []).append(part)
            configs: dict[str, Any] = {}
            used, parts_left = {LAYOUT}, sum(map(len, wanted.values()))
            for number, ((name, split), own_parts) in enumerate(wanted.items()):
                config = contents.config(name)
                said = configs.setdefault(name, _said(config))
                # A file that another config has too: other rows of it may be wanted there.
                inner = f"again-{number}/" if used.intersection(config.splits[split]) else ""
                used.update(config.splits[split])
                asked = _Asked(
                    config=config, name=name, split=split, parts=own_parts, of_parts=parts_left
                )
                kept = self._split(asked, self.out / inner, self.scratch / str(number))
                said["module"] = kept.module
                said["splits"][split] = [inner + file for file in kept.names]
                parts_left -= len(own_parts)
            default = contents.default if contents.default in configs else None
            about: Any = contents.about()
        return {
            "version": 1, "configs": configs, "default": default, "about": about, "rows": self.rows
        }  # fmt: skip

    def _split(self, asked: _Asked, out: Path, scratch: Path) -> _Kept:
        scratch.mkdir()
        names, module = asked.config.splits[asked.split], asked.config.module
        if FORMATS[module].part == "groups" and all(n.endswith(".parquet") for n in names):
            return self._groups(
                asked, Groups(self.files, names, scratch, asked.config.features), out
            )
        share = left(self.files) * len(asked.parts) // asked.of_parts
        most = max(self.files.limit, 1)
        heads = Heads(files=self.files, names=names, out=out, scratch=scratch, most=most)
        kept = self._heads(asked, heads, share)
        rows = asked.config.rows.get(asked.split)
        self._tell(asked, shards=len(kept.names), of_shards=len(names), of=rows)
        return kept

    def _tell(self, asked: _Asked, **seen: int | None) -> None:
        """What was looked at, as far as it is known."""
        known = {key: value for key, value in seen.items() if value is not None}
        self.looked.append({"config": asked.name, "split": asked.split, **known})

    def _groups(self, asked: _Asked, groups: Groups, out: Path) -> _Kept:
        picks = {}
        for number, part in enumerate(asked.parts):
            until = self.files.used + left(self.files) // (asked.of_parts - number)
            seed = f"{self.seed}/{self.section.get('seed', '')}/{part.made}"
            try:
                looked = Choice(groups=groups, part=part, until=until, seed=seed).make()
            except Fault as fault:
                raise part.place(fault) from None
            if looked.picks is not None:
                picks[part.made] = looked.picks
            of = asked.config.rows.get(asked.split) if looked.of is None else looked.of
            self._tell(asked, rows=looked.rows, of=of)
        names = groups.write(out)
        self.rows.update({made: groups.local(chosen) for made, chosen in picks.items()})
        return _Kept(names=names, module=asked.config.module)

    def _heads(self, asked: _Asked, heads: Heads, share: int) -> _Kept:
        """The first records where that is enough, else whole files."""
        module, source = asked.config.module, self.section["source"]
        assert isinstance(source, Mapping)
        options = dict(asked.config.options)
        if "sample_by" in source:
            options["sample_by"] = source["sample_by"]
        wanted, part = first(asked.parts), FORMATS[module].part
        if part == "all":
            return _Kept(names=heads.all(), module=module)
        if wanted is not None and part == "lines":
            lines = heads.lines(wanted, module, options)
            if lines is not None:
                return _Kept(names=lines, module=module)
        if wanted is not None and part == "members":
            tars = heads.tars(wanted)
            if tars is not None:
                return _Kept(names=tars[0], module="archive" if tars[1] else module)
        select = asked.parts[0].wish.get("select", "first")
        kept = heads.whole("first" if wanted is not None else select, share, asked.parts)
        how = Open(place=heads.out, scratch=heads.scratch, sample_by=None, most=heads.most)
        if module == "webdataset" and hold_texts(how, kept[0]):
            module = "archive"
        return _Kept(names=kept, module=module)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A split, and the parts of the recipe that are taken from it; `of_parts`: how many parts are
    yet to come, these included, among which the bytes that are left are shared."""

    config: Config
    name: str
    split: str
    parts: Sequence[Part]
    of_parts: int


def _said(config: Config) -> dict[str, Any]:
    """A config as layout.json has it, but for its splits."""
    return {
        "module": config.module,
        "options": dict(config.options),
        "features": None if config.features is None else config.features.to_dict(),
        "splits": {},
    }
