"""What a dataset repository holds: configs, splits, their files, features, and what its card says.

The datasets library decides, by the same rules as load_dataset. It is shown a folder with the
repository's card and, for each of its other files, an empty one of that name: it finds names and
patterns there and reads no data, nothing of it asks the network, and no code is in it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tinybuild.source.pins import Wish, fault

CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
LARGEST_CARD = 10_000_000  # bytes; the largest dataset_infos.json known has 3 MB
MODULES = (
    *("parquet", "json", "csv", "text", "arrow", "imagefolder", "audiofolder", "webdataset"),
)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
CONVERTED = "refs/convert/parquet"  # the branch in which the Hub keeps every dataset as Parquet
_CONVERTED_FILE = re.compile(r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet")
_NO_ZIP = b"PK\5\6" + bytes(18)  # a zip file without members
_BIBTEX = re.compile(r"```(?:bibtex|latex)?[ \t]*\n\s*(@\w+\s*\{.*?)\n```", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A config of the source: the datasets reader and its options, features (None where only the
    data say them), and the files of each split, in their order."""

    name: str
    module: str
    options: Mapping[str, Any]
    features: Any
    splits: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int]


class Contents(Mapping[str, tuple[str, ...]]):
    """Config -> its splits, in the repository's order; a config is looked at when it is asked for.

    `place` is an empty folder for what the library is shown; `read` gives a file's bytes."""

    def __init__(
        self,
        wish: Wish,
        names: Iterable[str],
        sizes: Mapping[str, int],
        place: Path,
        read: Callable[[str], bytes],
    ):
        self.wish, self.names, self.place = wish, tuple(sorted(names)), place
        self.cards: dict[str, bytes] = {}
        self.configs: dict[str, Config] = {}
        self.info: Any = None  # the datasets library's DatasetInfo of the last config asked for
        for name in self.names:
            if name in CARDS:
                if sizes[name] > LARGEST_CARD:
                    raise fault(wish, f"{name} of {self._repo} has {sizes[name]:,} bytes")
                self.cards[name] = read(name)
        self.card = self._card()
        self._show()
        self.known = self._known()
        self.default = self._default()

    @property
    def _repo(self) -> str:
        return str(self.wish.data["hub"])

    # --- the folder that the library is shown ----------------------------------------------------

    def _card(self) -> dict[str, Any]:
        """The YAML of README.md, with what .huggingface.yaml says over it."""
        import yaml

        found: dict[str, Any] = {}
        try:
            for name in CARDS[:2]:
                text = self.cards.get(name, b"").decode()
                if name == "README.md":
                    found.update(metadata(text))
                else:
                    said = yaml.safe_load(text)
                    found.update(said if isinstance(said, dict) else {})
        except (ValueError, TypeError, yaml.YAMLError, AttributeError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise fault(self.wish, f"the card of {self._repo} cannot be read: {line}") from None
        for text in _texts([found.get("configs")]):
            if "://" in text or text.startswith("/") or ".." in PurePosixPath(text).parts:
                what = f"the card of {self._repo} names data outside of the repository: {text}"
                raise fault(self.wish, what, "only files of the repository itself are read")
        return found

    def _show(self) -> None:
        for name in self.names:
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
                raise fault(self.wish, f"{self._repo} holds a file that climbs out: {name!r}")
            if name.endswith(".py"):
                continue
            if name == "README.md" and not self.cards[name].startswith(b"---"):
                continue  # it says nothing to the library, which would complain
            target = self.place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.cards.get(name, _NO_ZIP if name.endswith(".zip") else b""))
        converted = self._converted()
        if converted:
            import yaml

            text = yaml.safe_dump({"configs": converted}, sort_keys=False, allow_unicode=True)
            (self.place / "README.md").write_text(f"---\n{text}---\n", encoding="utf-8")

    def _converted(self) -> list[dict[str, Any]]:
        """The configs of the branch refs/convert/parquet, which has no card that says them."""
        carded = "README.md" in self.names and self.wish.data.get("revision") != CONVERTED
        if carded or "configs" in self.card:
            return []
        found: dict[str, dict[str, list[str]]] = {}
        for name in self.names:
            match = _CONVERTED_FILE.fullmatch(name)
            if match:
                found.setdefault(match[1], {}).setdefault(match[2], []).append(name)
            elif name.endswith(".parquet"):
                return []
        return [
            {
                "config_name": config,
                "data_files": [{"split": split, "path": names} for split, names in splits.items()],
            }
            for config, splits in found.items()
        ]

    # --- what the library says -------------------------------------------------------------------

    def _ask(self, question: Callable[[], Any]) -> Any:
        """A question to the library; None where it finds no data."""
        from datasets.data_files import EmptyDatasetError
        from datasets.exceptions import DataFilesNotFoundError

        try:
            return question()
        except (EmptyDatasetError, DataFilesNotFoundError, FileNotFoundError):
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            line = line.replace(str(self.place), self._repo)
            raise fault(
                self.wish, f"the layout of {self._repo} is not understood: {line}"
            ) from None

    def _known(self) -> tuple[str, ...]:
        """The names of the configs. Raises SourceFault where there is no data at all."""
        from datasets import get_dataset_config_names

        names = self._ask(lambda: get_dataset_config_names(str(self.place)))
        if names:
            return tuple(names)
        if self._archives():
            return ("default",)
        scripts = [n for n in self.names if n.endswith(".py") and "/" not in n]
        if scripts:
            raise fault(
                self.wish,
                f"{self._repo} has no data files, only a script that makes them ({scripts[0]}), "
                "and scripts are never run",
                f"the Hub may have its rows as Parquet: revision: {CONVERTED}",
            )
        what = f"{self._repo} at {self.wish.data.get('revision', 'main')} holds no data files"
        raise fault(self.wish, what, "it has a card and nothing that can be read as rows")

    def _archives(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name.lower().endswith(ARCHIVES))

    def _default(self) -> str | None:
        from datasets import get_dataset_default_config_name

        if len(self.known) == 1:
            return self.known[0]
        found = self._ask(lambda: get_dataset_default_config_name(str(self.place)))
        return str(found) if found else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in self.known:
            raise KeyError(name)
        return tuple(self.config(name).splits)

    def config(self, name: str) -> Config:
        """A config by name; looked at once."""
        if name not in self.configs:
            self.configs[name] = self._read(name)
        return self.configs[name]

    def _read(self, name: str) -> Config:
        from datasets import load_dataset_builder

        cache = self.place.with_name(f"{self.place.name}-cache")
        builder = self._ask(
            lambda: load_dataset_builder(str(self.place), name, cache_dir=str(cache))
        )
        if builder is None or not builder.config.data_files:
            files = self._archives()
            if not files:
                raise fault(self.wish, f"the config {name} of {self._repo} has no data files")
            return Config(
                name=name, module="archive", options={}, features=None, splits={"train": files},
                rows={},
            )  # fmt: skip
        module = type(builder).__mro__[1].__module__.rpartition(".")[2]
        if module not in MODULES:
            what = f"{self._repo} is of a kind that is not read here: {module}"
            raise fault(self.wish, what, f"read are {', '.join(MODULES)} and archives")
        splits = {
            str(split): tuple(self._inner(path) for path in files)
            for split, files in builder.config.data_files.items()
        }
        info = builder.info
        self.info = info
        return Config(
            name=name,
            module=module,
            options=_options(builder.config),
            features=info.features.to_dict() if info.features else None,
            splits=splits,
            rows={
                str(split): said.num_examples
                for split, said in (info.splits or {}).items()
                if said.num_examples
            },
        )

    def _inner(self, path: str) -> str:
        """The name in the repository of a file of the folder that the library was shown."""
        try:
            return Path(path).relative_to(self.place.resolve()).as_posix()
        except ValueError:
            what = f"the card of {self._repo} names data outside of the repository"
            raise fault(self.wish, what, "only files of the repository itself are read") from None

    def about(self) -> dict[str, Any]:
        """What the card says that a copy must say too: license, language, citation, homepage ..."""
        found = about(self.card, self.cards.get("README.md", b"").decode(errors="replace"))
        for name in ("citation", "homepage", "license"):
            said = getattr(self.info, name, "") or ""
            if said.strip() and name not in found:
                found[name] = said.strip()
        return found


def metadata(text: str) -> dict[str, Any]:
    """The YAML of a README.md; raises what the library and PyYAML do."""
    from huggingface_hub import DatasetCard

    if not text.startswith("---"):
        return {}
    return dict(DatasetCard(text, ignore_metadata_errors=False).data.to_dict())


def about(card: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The same, of a card alone: its YAML, and the citation in its text."""
    names = ("license", "language", "pretty_name")
    found: dict[str, Any] = {name: card[name] for name in names if card.get(name)}
    match = _BIBTEX.search(text)
    if match:
        found["citation"] = match[1].strip()
    return found


def _options(config: Any) -> dict[str, Any]:
    """What a card sets of its reader: the options that are not at their defaults."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ("name", "version", "data_dir", "data_files", "description", "features"):
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if value != default:
            try:
                json.dumps(value)
            except TypeError:
                continue  # an object of the library's own, which no card can have written
            found[field.name] = value
    return found


def _texts(value: Any) -> Iterable[str]:
    """The names and patterns of files in a card's `configs`."""
    for config in value[0] if isinstance(value[0], list) else ():
        if isinstance(config, Mapping):
            queue = [config.get("data_files"), config.get("data_dir")]
            while queue:
                item = queue.pop()
                if isinstance(item, str):
                    yield item
                elif isinstance(item, Mapping):
                    queue += [v for k, v in item.items() if k != "split"]
                elif isinstance(item, list | tuple):
                    queue += item
