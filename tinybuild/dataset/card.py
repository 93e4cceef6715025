"""The card of a dataset: what a source's says, and ours, for load_dataset and for people."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tinybuild.bundle import HERE
from tinybuild.dataset.archives import KEY, reason
from tinybuild.dataset.lines import silent
from tinybuild.dataset.parts import Part, parts
from tinybuild.dataset.select import WAYS
from tinybuild.dataset.suffixes import CARDS, README
from tinybuild.errors import BuildFault
from tinybuild.paths import Data
from tinybuild.progress import count
from tinybuild.reading import reading

if TYPE_CHECKING:
    from datasets import Features
    from huggingface_hub import DatasetCardData

# Of a source's front matter: what a copy's has too, and what it may say besides. One text, but for
# the first two, which may be lists of them.
CARRIED = ("license", "language", "license_name", "license_link")
TOLD = (*CARRIED, "citation", "homepage", "pretty_name")
LONGEST = 12  # configs or splits that are named one by one


def carried(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a copy's card has to say of what its source's card says, where that can be understood:
    texts, and lists of them for licenses and languages."""
    kept = {}
    for key in TOLD:
        several = isinstance(said.get(key), list)
        values = said[key] if several else [said.get(key)]
        if key == "language":
            # YAML takes the code of Norwegian for a truth value.
            values = ["no" if value is False else value for value in values]
        fits = values and all(isinstance(value, str) and value.strip() for value in values)
        if fits and (not several or key in CARRIED[:2]):
            kept[key] = values if several else values[0]
    return kept


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a card tells of.

    section: the recipe's; origin: what its source is called; about: what the source's card says;
    features: of each config; files: config -> split -> Parquet file, below the folder of the card;
    version: x.y.z, of all configs.
    """

    section: Mapping[str, Any]
    origin: str
    about: Mapping[str, Any]
    features: Mapping[str, Features]
    files: Mapping[str, Mapping[str, Path]]
    version: str


def text(told: Told) -> str:
    """README.md: front matter with `configs` and `dataset_info` as the Hub wants them, and text."""
    from huggingface_hub.utils import yaml_dump

    about, files = carried(told.about), told.files
    data = _front(about, told)
    first, second = "", ""
    if len(files) > 1:
        names = list(files)
        first = f', "{names[0]}"'
        shown = ", ".join(f"`{name}`" for name in names[:LONGEST])
        second = f"\n\nConfigs: {shown}{', ...' if len(names) > LONGEST else ''}."
    body = [
        "A tiny dataset, made for tests of machinery: what it says is of no matter.",
        f"## How it was made\n\n{_made(told)}",
        "## Load it\n\n```python\nfrom datasets import load_dataset\n\n"
        f'data = load_dataset("{HERE}"{first})\n```{second}',
    ]
    if "homepage" in about:
        body.append(f"## Source\n\n{about['homepage']}")
    if "citation" in about:
        cited = about["citation"].strip()
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", cited)), default=0))
        body.append(f"## Citation\n\nOf the source:\n\n{fence}bibtex\n{cited}\n{fence}")
    front = data.to_yaml()
    if "\x85" in front:  # a line break to YAML's reader, which it reads as a space
        front = yaml_dump(data.to_dict(), sort_keys=False, allow_unicode=False).strip()
    return f"---\n{front}\n---\n\n" + "\n\n".join(body) + "\n"


def _front(about: Mapping[str, Any], told: Told) -> DatasetCardData:
    import pyarrow.parquet
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    carried = {key: about[key] for key in CARRIED if key in about}
    data = DatasetCardData(**carried, tags=["tinybuild", "tiny"])
    infos, configs, files = DatasetInfosDict(), MetadataConfigs(), told.files
    for config, splits in files.items():
        features = told.features[config]
        infos[config] = DatasetInfo(config_name=config, features=features, splits=SplitDict())
        infos[config].download_size = infos[config].dataset_size = 0
        for split, path in splits.items():
            with pyarrow.parquet.ParquetFile(path) as file:
                rows = file.metadata.num_rows
                room = sum(batch.nbytes for batch in file.iter_batches())  # of one at a time
            infos[config].splits.add(SplitInfo(name=split, num_bytes=room, num_examples=rows))
            infos[config].download_size += path.stat().st_size
            infos[config].dataset_size += room
        folder = "data" if len(files) == 1 else f"data/{config}"
        paths = [{"split": split, "path": f"{folder}/{split}-*"} for split in splits]
        configs[config] = {"version": told.version, "data_files": paths}
        if config == next(iter(files)) and config != "default":
            configs[config]["default"] = True
    infos.to_dataset_card_data(data)
    configs.to_dataset_card_data(data)
    return data


def _made(told: Told) -> str:
    """A line for each split: which rows of what, and what was done to them."""
    section = told.section
    lines = [_line(told, part) for part in parts(section)]
    if "expand" in section:
        lines.append(
            f"- each config has so many rows made of these: {', '.join(section['expand'])} (repeat "
            "takes them in turn; unique also writes a row's number into its first text)"
        )
    return "\n".join(lines) + "\n\nBy tinybuild, from the recipe in `recipe.yaml`."


def _line(told: Told, part: Part) -> str:
    named = [part.config] if "configs" in told.section else []
    named += [part.split] if part.split else []
    head = f"`{'/'.join(named)}`: " if named else ""
    return f"- {head}{_rows(part.wish)} of {_origin(told, part)}{''.join(_changes(part.wish))}"


def _origin(told: Told, part: Part) -> str:
    if "records" in told.section:
        return "records made by hand"
    if "source" not in told.section:
        return "the corpus that ships with tinybuild"
    within = [f"config {part.of_config}"] if part.of_config else []
    within += [f"split {part.of_split}"] if part.of_split else []
    inside = f" ({', '.join(within)})" if within else ""
    return f"{told.origin}{inside}"


def _rows(wish: Mapping[str, Any]) -> str:
    if "rows" in wish:
        return f"rows {wish['rows']}"
    if "samples" not in wish:
        return "all rows"
    number = f"{'at most ' if wish.get('at_most') else ''}{count(wish['samples'])} rows"
    way = WAYS[wish.get("select", "first")]
    tests = [f"{column} is {_condition(value)}" for column, value in wish.get("where", {}).items()]
    where = f" where {' and '.join(tests)}," if tests else ""
    return f"{way.before}{number}{way.after}{where}"


def _condition(value: Any) -> str:
    if isinstance(value, Mapping):
        bounds = {"min": "at least", "max": "at most"}
        return " and ".join(f"{bounds[key]} {bound}" for key, bound in sorted(value.items()))
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def _changes(wish: Mapping[str, Any]) -> Iterable[str]:
    columns = wish.get("columns")
    if isinstance(columns, Mapping):
        yield f"; without the columns {', '.join(columns['drop'])}"
    elif columns:
        yield f"; only the columns {', '.join(columns)}"
    if "text" in wish:
        yield f"; texts cut to {count(wish['text']['max_chars'])} characters"
    if "images" in wish:
        yield f"; images of at most {wish['images']['max_size']} pixels a side"
    audio = wish.get("audio", {})
    if "max_seconds" in audio:
        yield f"; sounds of at most {audio['max_seconds']} seconds"
    if "sampling_rate" in audio:
        yield f"; sounds at {count(audio['sampling_rate'])} samples a second"


# --- reading --------------------------------------------------------------------------------------

LARGEST = (
    10**6
)  # values of a card's metadata; those with ten thousand labels in ten configs: 200,000
FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL
BIBTEX = re.compile(r"```(?:bibtex|latex)?[ \t]*\n\s*(@\w+\s*\{.*?)\n```", re.DOTALL)


class Files(Protocol):
    """Files that can be listed and shown.

    label: what messages call all of them. names: those that count, sorted. own: name -> format, of
    files that the library would not look into. strict: whether files that it would leave out are
    an error; a folder is the user's to put in order, and a repository is not. configs: what a card
    would say, where it says none. about: what a card elsewhere says.
    """

    label: str
    names: Sequence[str]
    own: Mapping[str, str]
    strict: bool
    configs: Sequence[Data]
    about: Data

    def called(self, name: str) -> str:
        """What messages call a file."""

    def text(self, name: str) -> str:
        """What one of CARDS holds. Raises UnicodeDecodeError."""

    def put(self, name: str, target: Path) -> None:
        """Let a file, or what stands for it, be at a path."""


MEND = "mend what stands between the two lines --- at its top (YAML, in UTF-8), or take that away"


def read(files: Files) -> dict[str, Any]:
    """The metadata of README.md, what .huggingface.yaml says over it, and the citation and homepage
    that the README's text has under such words. Raises BuildFault."""
    import yaml

    said: dict[str, Any] = {}
    for name in CARDS[:2]:
        if name not in files.names:
            continue
        with reading(files.called(name), *KEY), _yaml(files.called(name)):
            text = files.text(name)
            data = metadata(text) if name == README else yaml.safe_load(text)
            said |= data if isinstance(data, dict) else {}
        if _larger(said, LARGEST):
            raise BuildFault.of(
                f"{files.called(name)}: its metadata grows without end where its aliases are "
                "followed",
                key=KEY,
                hint=MEND,
            )
        for pattern in _texts(said.get("configs")):
            # datasets would fetch what "hf://..." and "https://..." name.
            remote = "://" in pattern or "::" in pattern
            if remote or pattern.startswith("/") or ".." in pattern.split("/"):
                raise BuildFault.of(
                    f"the configs in {files.called(name)} name a file outside of the folder: "
                    f"{pattern.rstrip('/').rpartition('/')[2]}",
                    key=KEY,
                    hint="data_files are relative to the folder, and below it",
                )
        if name == README:
            said = {**_written(text), **said}
    return said


@contextlib.contextmanager
def _yaml(name: str) -> Iterator[None]:
    import yaml

    try:
        yield
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        what = f"{name}: its metadata cannot be read: {reason(error)}"
        raise BuildFault.of(what, key=KEY, hint=MEND) from None


def metadata(text: str) -> dict[str, Any]:
    """The YAML of a README.md; raises what the library and PyYAML do."""
    from huggingface_hub import DatasetCard

    with silent("huggingface_hub.repocard"):  # "no metadata"
        return dict(DatasetCard(text, ignore_metadata_errors=False).data.to_dict())


def told(text: str) -> dict[str, Any]:
    """What a README.md that stands elsewhere says; nothing where it cannot be read."""
    import yaml

    try:
        return carried({**_written(text), **metadata(text)})
    except (ValueError, TypeError, yaml.YAMLError):
        return {}


def _written(text: str) -> dict[str, str]:
    """The citation and homepage in a card's text."""
    said = {}
    cited = re.search(r"^#+[^\n]*citation[^\n]*\n+(`{3,})\w*\n(.*?)\n\1", text, FLAGS)
    bibtex = BIBTEX.search(text)
    if cited:
        said["citation"] = cited[2]
    elif bibtex:
        said["citation"] = bibtex[1].strip()
    home = re.search(r"^[-*\s]*\**homepage:?\**:?\s*<?(https?://[^\s>)]+)", text, FLAGS)
    if home:
        said["homepage"] = home[1]
    return said


def _larger(said: object, most: int) -> bool:
    """Whether there are more than so many values, those of an alias each time that it is used."""
    values = [said]
    while values and most >= 0:
        value = values.pop()
        most -= 1
        if isinstance(value, list | Mapping):
            values += value.values() if isinstance(value, Mapping) else value
    return most < 0


def _texts(configs: object) -> Iterator[str]:
    """The texts in a card's data_files and data_dir, however deep."""
    queue: list[object] = []
    for config in configs if isinstance(configs, list) else ():
        if isinstance(config, Mapping):
            queue += [config.get("data_dir"), config.get("data_files")]
    while queue:
        item = queue.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            queue += [value for key, value in item.items() if key != "split"]
        elif isinstance(item, list):
            queue += reversed(item)
