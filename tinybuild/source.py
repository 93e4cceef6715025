"""Where upstream files come from: a wish is pinned to a fact, and only pins are fetched.

One table, `KINDS`, holds every kind of source. No kind fetches weights or code: only files that say
what a config or tokenizer is (`WANTED`) are ever copied.
"""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild import blank
from tinybuild.errors import Fault, SourceFault, did_you_mean, nearest
from tinybuild.files import PROVENANCE, RECEIPT, Memo, copy, inside, pretty, sha256
from tinybuild.ids import ROLES
from tinybuild.workers import Job

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Suffixes of files that describe a config, a tokenizer or a processor. Weights (.safetensors, .bin,
# .pt, .h5, .onnx, .gguf ...), pickles and code (.py) are not among them.
WANTED = (
    *(".json", ".txt", ".model", ".spm", ".tiktoken", ".jinja", ".bpe", ".vocab", ".codes"),
    ".tokenizer",
)
UNWANTED = (".index.json",)  # the table of contents of sharded weights
# Of a dataset's files all are looked at but code and pickles; readers choose by format.
NO_DATA = (".py", ".pyc", ".ipynb", ".sh", ".so", ".dll", ".exe", ".pkl", ".pickle", ".pt", ".pth")
TEXT = (".txt",)
TEMPLATES = "additional_chat_templates/*.jinja"
LISTS = ("keep", "text")  # lists of the tokenizer section that may name files of text
LARGEST = 100_000_000  # bytes of one upstream file; the largest tokenizer.json known has 35 MB


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a recipe asks for: `kind` is one of KINDS, `data` the recipe's mapping as it stands.

    `slot` is the part of the recipe it feeds: source, tokenizer, dataset, or keep-0, text-3 for a
    file of text in a list of the tokenizer section. Paths are relative to `base`, the recipe's
    folder. `serves` is the model type whose processor a blank tokenizer is to know the tokens of.
    """

    slot: str
    kind: str
    data: Mapping[str, Any]
    base: Path
    serves: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pin:
    """The fact a wish resolved to. `facts` is what a lock keeps; `files` says where the bytes are.

    `files` maps the name each file will have to a function that gives a readable path.
    """

    facts: Mapping[str, Any]
    files: Mapping[str, Callable[[], Path]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of source.

    look: what can be seen of the upstream without fetching it, as JSON data. The fetch runs again
    when this changes. It runs in the light process and must not import heavy libraries.
    resolve: wish -> Pin; raises SourceFault.
    locked: whether the pin is kept in NAME.lock.json, because others can change the upstream.
    """

    look: Callable[[Wish, Memo], Any]
    resolve: Callable[[Wish, Mapping[str, Any] | None, Path], Pin]
    locked: bool = False


def wishes(data: Mapping[str, Any], base: Path) -> tuple[Wish, ...]:
    """The wishes of a recipe, in the order source, tokenizer, dataset, files of text."""
    found = []
    for slot, holder in (("source", data), ("tokenizer", "tokenizer"), ("dataset", "dataset")):
        section = holder if isinstance(holder, Mapping) else data.get(holder, {})
        wish = section.get("source")
        if holder == "dataset" and "records" in section:
            wish = {"path": section["records"]}
        if wish is not None:
            kind = next(k for k in KINDS if k in wish)
            found.append(Wish(slot=slot, kind=kind, data=wish, base=base))
    for name in LISTS:
        items = data.get("tokenizer", {}).get(name)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, Mapping) and "file" in item:
                wish = {"path": item["file"]}
                found.append(Wish(slot=f"{name}-{number}", kind="path", data=wish, base=base))
    return tuple(found)


def in_place(wish: Wish) -> bool:
    """Whether the stage reads the files where they are, without a fetch: a dataset may be large."""
    return wish.slot == "dataset" and wish.kind == "path"


def look(wish: Wish, memo: Memo) -> Any:
    return KINDS[wish.kind].look(wish, memo)


def fetch(job: Job) -> dict[str, Any]:
    """The fetch stage: every wish of the recipe into its own folder `out/SLOT/`.

    Settings: wishes (slot -> mapping), base (the recipe's folder below the
    zoo's), locks (slot -> facts).
    Facts: pins (slot -> facts). Raises SourceFault.
    """
    pins = {}
    for slot, data in job.settings["wishes"].items():
        kind = next(k for k in KINDS if k in data)
        base, serves = job.root / job.settings["base"], None
        if slot == "tokenizer":
            serves = job.settings["wishes"].get("source", {}).get("transformers")
        wish = Wish(slot=slot, kind=kind, data=data, base=base, serves=serves)
        lock = job.settings["locks"].get(slot)
        if kind == "recipe":
            pin = _recipe(wish, job.inputs)
        else:
            pin = KINDS[kind].resolve(wish, lock, job.out / slot)
        files = {}
        for name, get in sorted(pin.files.items()):
            target = inside(job.out / slot, name)
            path = get()
            if path != target:
                copy(path, target)
            files[name] = {"sha256": sha256(target), "size": target.stat().st_size}
        if lock is not None:
            _hold(wish, lock, files)
        pins[slot] = {"wish": dict(data), **pin.facts, "files": files}
    return {"pins": pins}


def _hold(wish: Wish, lock: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """Refuse files that are not the locked ones."""
    for name in sorted({*lock["files"], *files}):
        locked, found = lock["files"].get(name), files.get(name)
        if locked == found:
            continue
        if found is None:
            what = f"{name} is in the lock but not in {_title(wish)}"
        elif locked is None:
            what = f"{name} is in {_title(wish)} but not in the lock"
        else:
            what = (
                f"{name} of {_title(wish)} is not the locked one "
                f"(sha256 {found['sha256'][:12]}, locked {locked['sha256'][:12]})"
            )
        raise SourceFault.of(
            what,
            key=(*_key(wish), wish.kind),
            hint="delete the recipe's .lock.json to accept what is there now",
        )


def _key(wish: Wish) -> tuple[str | int, ...]:
    name, _, number = wish.slot.partition("-")
    if number:
        return ("tokenizer", name, int(number))
    return ("source",) if wish.slot == "source" else (wish.slot, "source")


def is_text(slot: str) -> bool:
    """Whether a slot is that of a file in a list of texts."""
    return slot.startswith(tuple(f"{name}-" for name in LISTS))


def _useful(wish: Wish) -> tuple[tuple[str, ...], str]:
    """The suffixes of the files that a wish may stand for, and what they are."""
    if is_text(wish.slot):
        return TEXT, "text"
    return (("",), "data") if wish.slot == "dataset" else (WANTED, "config or tokenizer")


def _title(wish: Wish) -> str:
    return f"{wish.kind} {wish.data[wish.kind]}"


def _fault(wish: Wish, what: str, hint: str = "", key: str = "") -> Fault:
    return SourceFault.of(what, key=(*_key(wish), key or wish.kind), hint=hint)


def _of_use(suffixes: tuple[str, ...]) -> str:
    wanted = ", ".join(f"*{suffix}" for suffix in suffixes if suffix)
    return f"of use are {wanted or 'files that are not hidden, and neither code nor pickles'}"


def _wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file, by its path, is one of those that end so; a hidden one never is."""
    unwanted = NO_DATA if suffixes == ("",) else UNWANTED
    hidden = any(part.startswith(".") for part in name.split("/"))
    return name.endswith(suffixes) and not name.endswith(unwanted) and not hidden


def _check_sizes(wish: Wish, sizes: Iterable[tuple[str, int]]) -> None:
    for name, size in sizes:
        if size > LARGEST:
            raise _fault(
                wish,
                f"{name} of {_title(wish)} has {size:,} bytes; at most {LARGEST:,} are fetched",
                "a config or tokenizer file is never that large",
            )


# --- path: a local folder or file -----------------------------------------------------------------


def _local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files that a path wish stands for, sorted; {} where there are none."""
    place = (wish.base / wish.data["path"]).resolve()
    suffixes, _ = _useful(wish)
    if place.is_file():
        return {place.name: place} if _wanted(place.name, suffixes) else {}
    if not place.is_dir():
        return {}
    found = {}
    whole = (
        place.rglob("*") if wish.slot == "dataset" else [*place.iterdir(), *place.glob(TEMPLATES)]
    )
    for path in sorted(whole):
        name = path.relative_to(place).as_posix()
        if _wanted(name, suffixes) and path.is_file():
            found[name] = inside(place, name)
    return found


def _look_path(wish: Wish, memo: Memo) -> Any:
    try:
        return {name: memo.sha256(str(path)) for name, path in _local(wish).items()}
    except (Fault, OSError):
        return None  # the fetch will say what is wrong


def _resolve_path(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    files = local(wish)
    _check_sizes(wish, ((name, path.stat().st_size) for name, path in files.items()))
    return Pin(
        facts={}, files={name: functools.partial(Path, path) for name, path in files.items()}
    )


def local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files that a path wish stands for; raises SourceFault if there are none.

    A folder's names are below it; one file's is its own.
    """
    place = wish.base / wish.data["path"]
    if not place.exists():
        raise _fault(wish, f"there is no {wish.data['path']}", f"looked for {_shown(wish)}")
    files = _local(wish)
    if not files:
        suffixes, use = _useful(wish)
        hint = _of_use(suffixes)
        if place.is_file():
            name = wish.data["path"]
            raise _fault(wish, f"{name} is not a {use} file", hint)
        if not place.is_dir():
            raise _fault(wish, f"{wish.data['path']} is no plain file", "give a file or a folder")
        state = "is empty" if not any(place.iterdir()) else "holds no file that is of use"
        raise _fault(wish, f"the folder {wish.data['path']} {state}", hint)
    return files


def stamps(wish: Wish) -> dict[str, int]:
    """{name: ctime in ns} of a path wish's files: nobody can set a ctime, so one that was edited
    and reverted shows."""
    return {name: path.stat().st_ctime_ns for name, path in local(wish).items()}


def _shown(wish: Wish) -> str:
    return f"{wish.data['path']} seen from the folder {wish.base.name}/ of the recipe"


# --- package: files shipped inside an installed distribution --------------------------------------


def _look_package(wish: Wish, memo: Memo) -> Any:
    try:
        distribution = importlib.metadata.distribution(wish.data["package"])
    except importlib.metadata.PackageNotFoundError:
        return None
    return {
        "version": distribution.version,
        "files": {
            name: memo.sha256(str(distribution.locate_file(path)))
            for name, path in sorted(wish.data["files"].items())
        },
    }


def _resolve_package(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    name = wish.data["package"]
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise _fault(
            wish, f"the package {name} is not installed", f"pip install -c constraints.txt {name}"
        ) from None
    record = {str(entry): entry for entry in distribution.files or ()}
    suffixes, use = _useful(wish)
    files: dict[str, Callable[[], Path]] = {}
    for target, listed in sorted(wish.data["files"].items()):
        entry = record.get(listed)
        if entry is None or entry.hash is None:
            known = [k for k in record if not k.endswith((".py", ".pyc"))]
            raise SourceFault.of(
                f"{name} {distribution.version} ships no {listed}",
                key=(*_key(wish), "files", target),
                hint=did_you_mean(listed, known) if nearest(listed, known) else "see its RECORD",
            )
        if not _wanted(target, suffixes):
            raise SourceFault.of(
                f"{target} is not the name of a {use} file",
                key=(*_key(wish), "files", target),
                hint=_of_use(suffixes),
            )
        path = Path(str(distribution.locate_file(entry)))
        wanted = base64.urlsafe_b64decode(entry.hash.value + "=").hex()
        if not path.is_file() or sha256(path) != wanted:
            raise SourceFault.of(
                f"{listed} is not the file that {name} {distribution.version} was installed with",
                key=(*_key(wish), "files", target),
                hint=f"pip install --force-reinstall --no-deps {name}=={distribution.version}",
            )
        files[target] = functools.partial(Path, path)
    return Pin(facts={"version": distribution.version}, files=files)


# --- transformers: the default config, blank tokenizer and processor of a model type --------------


@functools.cache
def _version(name: str) -> str:
    return importlib.metadata.version(name)


def _look_transformers(wish: Wish, memo: Memo) -> Any:
    return {
        "transformers": _version("transformers"),
        "tokenizers": _version("tokenizers"),
    }


def _resolve_transformers(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    kind = wish.data["transformers"]
    if kind not in CONFIG_MAPPING:
        raise _fault(
            wish,
            f"transformers {_version('transformers')} has no model type {kind!r}",
            did_you_mean(kind, CONFIG_MAPPING.keys()),
        )
    out.mkdir(parents=True)
    try:
        config = CONFIG_MAPPING[kind]()
    except (ImportError, TypeError, ValueError, StrictDataclassError) as error:
        line = " ".join(str(error).split())
        raise _fault(
            wish,
            f"the default config of {kind} cannot be made: {line[:200]}",
            "take the config from a path or the Hub instead",
        ) from None
    (out / "config.json").write_text(pretty(json.loads(config.to_json_string(use_diff=False))))
    tokenizer, served = blank_tokenizer(kind, config), wish.serves or kind
    files = blank.processor(served, tokenizer)
    if tokenizer is not None and files:
        data = json.loads(CONFIG_MAPPING[served]().to_json_string(use_diff=False))
        blank.roles(tokenizer, data, ROLES)
    for name, data in files.items() if served == kind else ():
        (out / name).write_text(pretty(data))
    if tokenizer is not None:
        tokenizer.save_pretrained(out)
    names = sorted(path.name for path in out.iterdir())
    return Pin(
        facts={"transformers": _version("transformers")},
        files={name: functools.partial(Path, out, name) for name in names},
    )


def blank_tokenizer(kind: str, config: Any | None = None) -> Any | None:
    """The tokenizer of a model type's family without a vocabulary, or None where there is none.

    The class is the one that AutoTokenizer takes for the type; where that needs files, the class
    in the type's own module (Llama's mapping names a class that only loads files). A type that has
    neither (Llava) takes its text config's: `config` is the type's default.
    """
    import importlib

    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.tokenization_auto import (
        TOKENIZER_MAPPING_NAMES,
        tokenizer_class_from_name,
    )

    candidates = []
    mapped = TOKENIZER_MAPPING_NAMES.get(kind)
    if mapped is not None:
        candidates.append(tokenizer_class_from_name(mapped))
    module = model_type_to_module_name(kind)
    try:
        own = importlib.import_module(f"transformers.models.{module}.tokenization_{module}")
        candidates += [getattr(own, name) for name in own.__all__]
    except (ImportError, AttributeError, NameError):
        pass  # there is none, or it needs a package that is not there
    for candidate in candidates:
        if candidate is None:
            continue
        try:
            return candidate()
        except (TypeError, ValueError, ImportError, OSError):
            continue  # it needs files, or a package that is not there
    text = config.get_text_config() if config is not None else None
    if text is not None and text.model_type != kind:
        return blank_tokenizer(text.model_type, text)
    return None


# --- hub: a repository of the Hugging Face Hub ----------------------------------------------------


def _look_hub(wish: Wish, memo: Memo) -> Any:
    return None  # the lock decides; nothing is asked of the network


def _resolve_hub(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    from huggingface_hub import HfApi

    repo, revision = wish.data["hub"], wish.data.get("revision", "main")
    api = HfApi()
    if lock is not None:
        commit, names = lock["commit"], list(lock["files"])
    else:
        info = _ask(wish, lambda: api.model_info(repo, revision=revision, files_metadata=True))
        commit = info.sha
        chosen = {
            file.rfilename: file.size or 0
            for file in info.siblings or ()
            if _wanted(file.rfilename.rpartition("/")[2], WANTED)
            and ("/" not in file.rfilename or file.rfilename.endswith(".jinja"))
        }
        if not chosen:
            raise _fault(wish, f"{repo} at {revision} holds no config or tokenizer file")
        _check_sizes(wish, chosen.items())
        names = sorted(chosen)
    return Pin(
        facts={"commit": commit},
        files={name: functools.partial(_download, wish, api, repo, commit, name) for name in names},
    )


def _download(wish: Wish, api: HfApi, repo: str, commit: str, name: str) -> Path:
    return Path(_ask(wish, lambda: api.hf_hub_download(repo, name, revision=commit)))


def _ask(wish: Wish, question: Callable[[], Any]) -> Any:
    """Put a question to the Hub; its refusals become faults. Tokens never appear in them."""
    import httpx2
    from huggingface_hub import errors

    repo, revision = wish.data["hub"], wish.data.get("revision", "main")
    try:
        return question()
    except errors.GatedRepoError:
        hint = f"accept its terms on the Hub, then log in: hf auth login ({repo})"
        raise _fault(wish, f"{repo} is gated", hint) from None
    except errors.RepositoryNotFoundError:
        hint = "check the name; a private one needs a login: hf auth login"
        raise _fault(wish, f"the Hub has no model {repo} that you may see", hint) from None
    except errors.RevisionNotFoundError:
        raise _fault(
            wish,
            f"{repo} has no revision {revision}",
            "check the branch, tag or commit",
            "revision",
        ) from None
    except errors.EntryNotFoundError as error:
        raise _fault(wish, f"{repo}: {error}", "its lock may be stale; delete it") from None
    except (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        httpx2.HTTPError,
        ConnectionError,
        TimeoutError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "check the network (and HF_ENDPOINT, HF_HUB_OFFLINE), then run doit again"
        raise _fault(wish, f"the Hub cannot be reached for {repo}: {reason}", hint) from None


# --- recipe: another recipe of this zoo -----------------------------------------------------------


def _recipe(wish: Wish, inputs: Mapping[str, Path]) -> Pin:
    """The config and tokenizer files that another recipe's model and tokenizer stages left; for a
    dataset those of its dataset stage."""
    files: dict[str, Callable[[], Path]] = {}
    suffixes, _ = _useful(wish)
    for stage in ("tokenizer", "model", "dataset"):
        folder = inputs.get(f"{wish.slot}.{stage}")
        for path in sorted(folder.rglob("*")) if folder is not None else ():
            name = path.relative_to(folder or path).as_posix()
            if path.is_file() and _wanted(name, suffixes) and name not in (RECEIPT, PROVENANCE):
                files[name] = functools.partial(Path, path)
    if not files:
        name = wish.data["recipe"]
        makes = "no dataset" if wish.slot == "dataset" else "neither a model nor a tokenizer"
        raise _fault(wish, f"the recipe {name} makes {makes}")
    return Pin(facts={}, files=files)


def _unreachable(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    raise AssertionError("fetch gives recipe wishes their inputs")


KINDS: dict[str, Kind] = {
    "hub": Kind(look=_look_hub, resolve=_resolve_hub, locked=True),
    "path": Kind(look=_look_path, resolve=_resolve_path),
    "package": Kind(look=_look_package, resolve=_resolve_package, locked=True),
    "transformers": Kind(look=_look_transformers, resolve=_resolve_transformers),
    "recipe": Kind(look=lambda wish, memo: None, resolve=_unreachable),
}
