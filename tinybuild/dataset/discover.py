"""What a dataset holds: its configs, their splits and files, and what its card says.

The datasets library decides, by the rules of load_dataset. It is shown a folder with the names of
the files: links to those of a folder, or empty ones for a repository that is read by ranges. No
data is read but what tells an archive's kind, nothing asks the network, and no code is shown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from tinybuild.dataset import card, suffixes
from tinybuild.dataset.archives import KEY, inner_name, reason, suffix_of
from tinybuild.dataset.formats import FORMATS
from tinybuild.dataset.lines import silent
from tinybuild.dataset.rows import Config
from tinybuild.dataset.suffixes import FOLDERS, README
from tinybuild.errors import BuildFault, Fault
from tinybuild.paths import Data, Json

if TYPE_CHECKING:
    from datasets import BuilderConfig, DatasetBuilder

T = TypeVar("T")
# What the library calls files of a format by, where their own names do not tell it.
ENDS = {"csv": ".csv", "json": ".json", "text": ".txt"}
OUTSIDE = "data_files are relative to the folder, and below it"


def formats() -> str:
    read = ", ".join(name for name in FORMATS if name != "archive")
    return f"give files of one format: {read}, or archives of text or JSON lines"


def nothing(label: str, names: Sequence[str]) -> Fault:
    """That none of these files can be read as rows."""
    scripts = [name for name in sorted(names) if name.endswith(".py") and "/" not in name]
    if scripts:
        return BuildFault.of(
            f"{label} holds no file that can be read, only a script that makes them "
            f"({scripts[0]}), and scripts are never run",
            key=KEY,
            hint="the Hub may have its rows as Parquet: revision: refs/convert/parquet",
        )
    ends = sorted({PurePosixPath(name).suffix or name for name in names} - {".md"})
    what = f" ({', '.join(ends[:9])})" if ends else ""
    return BuildFault.of(f"{label} holds no file that can be read{what}", key=KEY, hint=formats())


@contextlib.contextmanager
def contents(files: card.Files, scratch: Path) -> Iterator[Contents]:
    """What the files are; configs are looked at in its context. Raises BuildFault."""
    # The library takes the folder's own path for a pattern.
    home = None if glob.has_magic(str(scratch)) else scratch
    with tempfile.TemporaryDirectory(dir=home, prefix="view-") as view:
        yield Contents(files, Path(view).resolve(), scratch / "cache")


class Contents(Mapping[str, tuple[str, ...]]):
    """Config -> its splits, in the order of the card; a config is looked at when it is asked for.

    default: the config that load_dataset takes where none is named, or None.
    """

    def __init__(self, files: card.Files, view: Path, cache: Path):
        import yaml

        self.files, self.view, self.cache = files, view, cache
        self.card = card.read(files)
        if files.strict and files.configs:  # a recipe says what they are
            self.card.pop("configs", None)
        self.configs: dict[str, Config] = {}
        self.said: dict[str, str] = {}  # what the library reads in dataset_infos.json
        self.links = {}
        for name in files.names:
            # To the library, an archive that it would not look into is one that it would.
            end = ENDS.get(files.own.get(name, ""), ".tar")
            odd = name in files.own and not name.lower().endswith(end)
            path = PurePosixPath(name)
            renamed = odd and "configs" not in self.card
            link = str(path.with_name(path.name.replace(".", "_") + end)) if renamed else name
            target = view / link
            target.parent.mkdir(parents=True, exist_ok=True)
            files.put(name, target)
            self.links[link] = name
        if files.configs and "configs" not in self.card:
            shown = {name: glob.escape(link) for link, name in self.links.items()}
            configs = [_linked(config, shown) for config in files.configs]
            text = yaml.safe_dump({"configs": configs}, sort_keys=False, allow_unicode=True)
            (view / README).unlink(missing_ok=True)
            (view / README).write_text(f"---\n{text}---\n", encoding="utf-8")
        self.carded = bool(self.card or files.configs or suffixes.CARDS[2] in files.names)
        self.known, self.default = self._known()

    def _known(self) -> tuple[tuple[str, ...], str | None]:
        import datasets

        known: Sequence[str] = ()
        default = None
        if self.carded:
            place = str(self.view)
            known = self._ask(lambda: datasets.get_dataset_config_names(place)) or ()
            default = self._ask(lambda: datasets.get_dataset_default_config_name(place))
        known = tuple(known) or ("default",)
        return known, default or (known[0] if len(known) == 1 else None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in self.known:
            raise KeyError(name)
        return tuple(self.config(name).splits)

    def config(self, name: str) -> Config:
        """A config by name; looked at once, which takes 30 ms."""
        if name not in self.configs:
            self.configs[name] = self._look(name)
        return self.configs[name]

    def about(self) -> dict[str, object]:
        """What a copy has to say of the source too: license, language, citation, homepage ..."""
        return card.carried({**self.files.about, **self.said, **self.card})

    # --- the library -----------------------------------------------------------------------------

    def _ask(self, question: Callable[[], T]) -> T | None:
        """A question to the library; None where it finds no data."""
        try:
            with silent("huggingface_hub.repocard", "datasets.info"):
                return question()
        except FileNotFoundError as error:
            if self.files.strict:
                raise self._unread(error) from None
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unread(error) from None

    def _unread(self, error: Exception) -> Fault:
        text = reason(error).replace(str(self.view), ".")
        return BuildFault.of(f"{self.files.label} cannot be read: {text}", key=KEY, hint=formats())

    def _look(self, name: str) -> Config:
        import datasets

        asked, cache = name if self.carded else None, str(self.cache)
        builder = self._ask(
            lambda: datasets.load_dataset_builder(str(self.view), asked, cache_dir=cache)
        )
        if builder is None or not builder.config.data_files:
            packed = tuple(n for n in self.files.names if n.lower().endswith(suffixes.ARCHIVES))
            if not packed or self.files.strict:
                what = f"{self.files.label}: the config {name} has no data files"
                raise BuildFault.of(what, key=KEY, hint=formats())
            return Config(module="archive", options={}, features=None, splits={"train": packed})
        splits = {
            str(split): tuple(map(self._inside, files))
            for split, files in builder.config.data_files.items()
        }
        module = self._module(name, builder, set(itertools.chain.from_iterable(splits.values())))
        info = builder.info
        for key in ("license", "citation", "homepage"):
            if value := (getattr(info, key, None) or "").strip():
                self.said.setdefault(key, value)
        counts = {str(split): said.num_examples for split, said in (info.splits or {}).items()}
        return Config(
            module=module,
            options=_options(builder.config),
            features=info.features,
            splits=splits,
            rows={split: count for split, count in counts.items() if count},
        )

    def _inside(self, file: str) -> str:
        """The name of a file of the view."""
        path = Path(file)
        below = path.is_relative_to(self.view) and ".." not in path.parts
        link = path.relative_to(self.view).as_posix() if below else ""
        if not below or (self.files.strict and link not in self.links):
            raise BuildFault.of(
                f"the configs in {self.files.called(README)} name {path.name!r}, which is not a "
                "file of the folder",
                key=KEY,
                hint=OUTSIDE,
            )
        return self.links.get(link, link)

    def _module(self, name: str, builder: DatasetBuilder, files: set[str]) -> str:
        """The format of a config. Raises BuildFault."""
        packaged = (base.__module__ for base in type(builder).__mro__)
        module = next(m for m in packaged if "packaged_modules" in m).rpartition(".")[2]
        own = {self.files.own.get(file) for file in files}
        if len(own) == 1 and None not in own:
            module = str(own.pop())
        if self.files.strict:
            self._agree(name, module, files)
        if module not in FORMATS:
            raise BuildFault.of(
                f"config {name!r} is in a format that is not read here: {module}",
                key=KEY,
                hint=formats(),
            )
        return module

    def _agree(self, name: str, module: str, files: set[str]) -> None:
        """Refuse what the library would leave out without a word, or take for what it is not."""
        whole = set(self.links.values()) - set(suffixes.CARDS)
        ours = sorted(files if "configs" in self.card else whole, reverse=True)
        by_format = {self._format(file): file for file in ours}
        by_format.pop(None, None)
        if module in FOLDERS and len(by_format) < 2:  # one of rows is the metadata
            by_format = {suffixes.medium(file): file for file in ours}
            by_format.pop(None, None)
        strange = set(by_format) - {module, "tsv" if module == "csv" else module}
        some = ", ".join(sorted(by_format.values()))
        if len(by_format) > 1:
            raise BuildFault.of(
                f"{self.files.label} holds files of more than one format: {some}",
                key=KEY,
                hint=f"{formats()}; or say in README.md's configs which of them count",
            )
        if strange and module in FORMATS and FORMATS[module].of_rows:
            raise BuildFault.of(
                f"config {name!r} is read as {module}, as the first config is, and names {some}",
                key=KEY,
                hint="the configs of a folder are of one format",
            )

    def _format(self, name: str) -> str | None:
        """The format of a file of rows, by its name; None for others, as of media."""
        from datasets.packaged_modules import _EXTENSION_TO_MODULE

        if name in self.files.own:
            return self.files.own[name]
        suffix = suffix_of(inner_name(name))
        module, _ = _EXTENSION_TO_MODULE.get(suffix, (None, {}))
        if suffix == ".tsv":
            return "tsv"
        return str(module) if module in FORMATS and FORMATS[module].of_rows else None


def _linked(config: Data, shown: Mapping[str, str]) -> dict[str, object]:
    """A config whose files, where each is named, are called as the library sees them."""
    made: dict[str, object] = dict(config)
    files = config.get("data_files")
    if isinstance(files, list):
        made["data_files"] = [_shown(entry, shown) for entry in files]
    return made


def _shown(entry: Json, shown: Mapping[str, str]) -> object:
    if not isinstance(entry, Mapping) or not isinstance(paths := entry.get("path"), list):
        return entry
    return {**entry, "path": [shown.get(str(path), path) for path in paths]}


def _options(config: BuilderConfig) -> dict[str, object]:
    """What a card sets of its reader: the options that are not at their defaults."""
    others = ("name", "version", "data_dir", "data_files", "description", "features")
    options = {}
    for option in dataclasses.fields(config):
        value, default = getattr(config, option.name), option.default
        if option.default_factory is not dataclasses.MISSING:
            default = option.default_factory()
        if option.name not in others and value != default:
            try:
                json.dumps(value)
            except TypeError:
                continue  # an object of the library's own, which no card can have written
            options[option.name] = value
    return options
