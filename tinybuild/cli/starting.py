"""The commands of the first minute: a zoo of one's own, and a recipe for a source."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tinybuild.cli import editors
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.editors import SCHEMA
from tinybuild.cli.session import Session
from tinybuild.compare import tokens
from tinybuild.config import heads
from tinybuild.config.found import as_written
from tinybuild.config.found import load as load_config
from tinybuild.config.matched import OF_TYPE, matched
from tinybuild.engine.plan import load, wrong_name
from tinybuild.errors import Fault, RecipeFault, SourceFault, nearest
from tinybuild.files import write
from tinybuild.forge import callers
from tinybuild.paths import Data, Json
from tinybuild.source import blank_tokenizer
from tinybuild.source.family import takes_text

VOCABULARY = 2000  # tokens; of the smallest models of all families, few need more
DODO = '"""`doit` builds recipes/ into dist/; `doit help` lists the commands."""\n\n'
FILES: Mapping[str, str] = {
    "dodo.py": f"{DODO}from tinybuild.tasks import *  # noqa: F403\n",
    ".gitignore": "/build/\n/dist/\n",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a source turned out to be. class_: that `auto` takes. tasks: those that its type has a
    class for. words: whether it has, or can have, a tokenizer; lent: whether that is its type's,
    since the source has no vocabulary; tokens: how many the source's own has, if that is known.
    notes: what was guessed of it."""

    model_type: str
    class_: str
    tasks: tuple[str, ...]
    words: bool
    lent: bool = False
    tokens: int | None = None
    notes: tuple[str, ...] = ()


def _init(here: Session, words: Sequence[str], options: Options) -> Lines:
    if len(words) > 1:
        raise RecipeFault.of("init takes one folder", hint="init DIR")
    root = Path(*words)
    if root.exists() and not root.is_dir():
        raise RecipeFault.of(f"{root} is there, and is not a folder", hint="give a new name")
    first = "recipes/llama.yaml"
    llama = Found(model_type="llama", class_="LlamaForCausalLM", tasks=("causal-lm",), words=True)
    files = {**FILES, SCHEMA: editors.schema(), first: recipe("transformers", "llama", llama)}
    if options["ci"]:
        files |= callers.workflows(callers.Place.read(options["ci"]))
    if options["pre-commit"]:
        files[callers.PRE_COMMIT] = callers.HOOK
    wrote = list[Json]()
    for name, content in files.items():
        if (root / name).exists():
            yield f"kept {name}, which is there already"
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name, content)
        wrote.append(name)
        yield f"wrote {name}"
    there = "" if root.resolve() == Path.cwd() else f"-C {root} "
    yield f"now build it: tinybuild {there}build"
    yield f"then add recipes: tinybuild {there}new SOURCE"
    return Answer(data={"wrote": wrote})


INIT = Command(
    doc="make a folder a zoo: a dodo.py, a first recipe, the schema for editors",
    do=_init,
    words="[DIR]",
    options={
        "pre-commit": Option(help=f"also {callers.PRE_COMMIT}: `tinybuild check` before a commit"),
        "ci": Option(
            help="also workflows of GitHub, which call those of this repository of tinybuild",
            value="OWNER/REPO",
        ),
    },
    zoo=False,
    group="zoo",
    more="Files that are there already stay as they are. GitHub and pre-commit read their files\n"
    "at the top of a repository: move them there where DIR is a folder in one.",
)


def _new(here: Session, words: Sequence[str], options: Options) -> Lines:
    if not 1 <= len(words) <= 2:
        raise RecipeFault.of("new takes a source and a name", hint="new SOURCE [NAME]")
    name = words[1] if len(words) == 2 else _name(words[0])
    named(here, name, f"give another name: tinybuild new {shlex.quote(words[0])} NAME")
    file = here.root / "recipes" / f"{name}.yaml"
    size = options["vocab-size"] or str(VOCABULARY)
    if not size.isdecimal():
        raise RecipeFault.of(f"--vocab-size {size} is not a number")
    found = written(here, words[0], file, int(size))
    shown = here.shown(file)
    yield f"wrote {shown}: {found.class_ or 'a tokenizer'} of {words[0]}"
    yield from found.notes
    yield f"now build it: tinybuild build {name}"
    data: dict[str, Json] = {"recipe": name, "file": shown, "class": found.class_}
    return Answer(data={**data, "notes": [*found.notes]})


def named(here: Session, name: str, hint: str) -> None:
    """Raises RecipeFault where a new recipe cannot have a name."""
    wrong = wrong_name(name, here.zoo.groups)
    if wrong or name in here.zoo.names:
        raise RecipeFault.of(wrong or f"there is a recipe {name} already", hint=hint)


def written(here: Session, word: str, file: Path, size: int = VOCABULARY) -> Found:
    """What the source that a word means turned out to be, and its recipe in a file.
    Raises Fault."""
    kind, value = _source(here, word)
    # A first text, of which the source is fetched; then one that says what was found.
    plain = Found(model_type="", class_="", tasks=(), words=False)
    write(file, recipe(kind, value, plain, size))
    try:
        found = _found(here, kind, value, file.stem)
    except BaseException as error:  # also Ctrl-C: a first text is not a recipe
        file.unlink()
        file.with_suffix(".lock.json").unlink(missing_ok=True)
        if isinstance(error, Fault):  # the places in it went with it
            raise type(error)(replace(one, where="") for one in error.findings) from None
        raise
    write(file, recipe(kind, value, found, size, _line(here)))
    editors.learn(here, kind, value, file.stem)
    return found


NEW = Command(
    doc="write a recipe for a source: it is looked at, and builds as it is",
    do=_new,
    words="SOURCE [NAME]",
    options={"vocab-size": Option(help=f"tokens [{VOCABULARY}]", value="N")},
    group="zoo",
    more="SOURCE is a model type of transformers (mt5), a repository of the Hub\n"
    "(google/mt5-small), or a folder with config and tokenizer files (./my-model).",
)


def _line(here: Session) -> str:
    """The line by which an editor knows the schema."""
    known = (here.root / SCHEMA).is_file()
    return f"# yaml-language-server: $schema=../{SCHEMA}\n" if known else ""


def _source(here: Session, word: str) -> tuple[str, str]:
    """The kind of source that a word means, and its value in the recipe."""
    if word in heads.every():
        return "transformers", word
    if Path(word).is_dir():
        _held(Path(word))
        below = os.path.relpath(Path(word).resolve(), (here.root / "recipes").resolve())
        return "path", Path(below).as_posix()
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", word) and not Path(word).exists():
        return "hub", word
    if Path(word).exists() or "/" in word:
        raise _no_folder(word)
    near = nearest(word, heads.every())
    raise RecipeFault.of(
        f"{word} is not a model type, a folder, or a repository of the Hub",
        hint=f"did you mean {' or '.join(near)}?" if near else "give OWNER/NAME for the Hub's",
    )


def _no_folder(word: str) -> Fault:
    """What is wrong with a path that is no folder: it is a file, or not there."""
    path = Path(word)
    if path.exists():
        return RecipeFault.of(f"{word} is not a folder", hint=f"give the folder: {path.parent}")
    others = [one.name for one in path.parent.glob("*") if one.is_dir()]
    near = [str(path.with_name(name)) for name in nearest(path.name, others)]
    hint = f"did you mean {' or '.join(near)}?" if near else "the Hub's are OWNER/NAME"
    return RecipeFault.of(f"there is no folder {word}", hint=hint)


def _held(folder: Path) -> None:
    """Raises RecipeFault for a folder without a model or vocabulary, where folders in it have."""
    if (folder / "config.json").is_file() or any(
        tokens.is_vocabulary(one.name) for one in folder.iterdir()
    ):
        return
    inner = [str(path.parent) for path in sorted(folder.glob("*/config.json"))]
    if inner:
        more = f" or one of {len(inner) - 2} more" if len(inner) > 2 else ""
        raise RecipeFault.of(
            f"the folder {folder} has neither a config.json nor a vocabulary",
            hint=f"did you mean {' or '.join(inner[:2])}{more}?",
        )


def _name(word: str) -> str:
    """A recipe's name for a source: google/mt5-small -> mt5-small."""
    last = re.split(r"[/\\]", word.rstrip("/\\"))[-1]
    return re.sub(r"[^a-z0-9.-]+", "-", last.lower()).strip("-.") or "model"


def _found(here: Session, kind: str, value: str, name: str) -> Found:
    """What a source is. Raises Fault."""
    if kind == "transformers":
        from transformers import CONFIG_MAPPING

        config = CONFIG_MAPPING[value]()
        model, _ = heads.choose(heads.AUTO, config)
        words = heads.speaks(value) and takes_text(blank_tokenizer(value, config))
        return _of(value, model.__name__, words=words)
    zoo = load(here.root, here.memo, here.cache)
    for broken in zoo.broken:
        if broken.name == name:
            raise here.refusal(broken)
    task = zoo.tasks[f"fetch:{name}"]
    here.builder.perform(task, here.screen.say)
    folder = here.builder.place(task.name) / "source"
    words = any(tokens.is_vocabulary(path.name) for path in folder.iterdir())
    if not (folder / "config.json").is_file():
        if not words:
            raise SourceFault.of(
                "the source has neither a config.json nor a vocabulary (tokenizer.json, vocab.txt, "
                "*.model ...)",
                hint="give the folder of the model itself",
            )
        return Found(model_type="", class_="", tasks=(), words=words, tokens=_tokens(folder))
    try:
        config, reasons = matched(as_written(folder))
    except Fault as fault:
        if not words:
            raise
        notes = tuple(f"no model: {one.what}" for one in fault.findings)
        return Found(
            model_type="", class_="", tasks=(), words=True, tokens=_tokens(folder), notes=notes
        )
    notes = tuple({text.removeprefix(f"{OF_TYPE}: "): None for text in reasons.values()})
    return replace(_held_by(folder, config, words=words), notes=notes)


def _held_by(folder: Path, config: Data, *, words: bool) -> Found:
    """What a source is whose config has a type that transformers knows."""
    from transformers import CONFIG_MAPPING

    model_type, first = str(config["model_type"]), _class(folder, config)
    own = blank_tokenizer(model_type, CONFIG_MAPPING[model_type]())
    if words:  # of texts alone: LayoutLM's wants a box with each word
        plain = own is None or takes_text(own)
        return replace(_of(model_type, first, words=plain), tokens=_tokens(folder))
    lent = heads.speaks(model_type) and takes_text(own) and _learns(first)
    return _of(model_type, first, words=lent, lent=lent)


def _class(folder: Path, config: Data) -> str:
    """The first class that a config names, or the one that is built in its place."""
    classes: Json = config.get("architectures")
    with contextlib.suppress(Fault):  # the build says what is wrong with it
        classes = load_config(folder).architectures
    return str(classes[0]) if isinstance(classes, list) and classes else ""


def _learns(name: str) -> bool:
    """Whether a class reads tokens or learns from them: wav2vec 2 before it is tuned does not."""
    import transformers

    known = getattr(transformers, name, None)
    if known is None or getattr(known, "main_input_name", "") == "input_ids":
        return True
    return "labels" in inspect.signature(known.forward).parameters


def _of(model_type: str, named: str, *, words: bool, lent: bool = False) -> Found:
    tasks = heads.of_type(model_type)
    class_ = named or next((names[0] for names in tasks.values()), "")
    return Found(model_type=model_type, class_=class_, tasks=tuple(tasks), words=words, lent=lent)


def _tokens(folder: Path) -> int | None:
    """How many tokens a source's vocabulary files hold; None where they cannot be read plainly."""
    try:
        files = [path for path in folder.iterdir() if tokens.is_vocabulary(path.name)]
        return max((len(tokens.read(path)) for path in files), default=None)
    except (Fault, ValueError, LookupError):
        return None  # the build says what is wrong with it


def recipe(
    kind: str, value: str, found: Found, size: int = VOCABULARY, line: str | None = None
) -> str:
    """The text of a recipe for a source, with comments that say what may be changed."""
    head = f"# yaml-language-server: $schema=../{SCHEMA}\n" if line is None else line
    return head + "\n".join(_sections(kind, value, found, size)) + "\n"


def _sections(kind: str, value: str, found: Found, size: int) -> Iterator[str]:
    yield "version: 1"
    yield "# What `list` and the card say of it."
    yield f"summary: a tiny {found.class_ or 'tokenizer'} for tests"
    yield f"source:\n  {kind}: {value}"
    if found.words or not found.model_type:
        yield "tokenizer:"
        if found.lent:
            yield "  # The source has no vocabulary: one is trained, as its type has it."
            yield f"  source: {{transformers: {found.model_type}}}"
            yield "  # Special tokens included."
        elif found.tokens is not None and found.tokens <= size:
            yield f"  # The source has {found.tokens:,} tokens. `vocab_size: N` takes fewer."
            yield "  method: keep"
            size = 0
        else:
            yield "  # Special tokens included. `method: keep` keeps the source's own."
        if size:
            yield f"  vocab_size: {size}"
    if found.model_type:
        yield "model:"
        said = f"auto: {found.class_ or 'the base class'}. Or a class, or a task: "
        for line in textwrap.wrap(said + ", ".join(found.tasks), 96, break_on_hyphens=False):
            yield f"  # {line}"
        yield "  architecture: auto"
        yield "  # The sizes are chosen by rule. What should be otherwise stands here:"
        yield "  # config: {num_hidden_layers: 4}"
        yield "  # dtype: bfloat16"
    yield "# Rows to train with; `source: {hub: OWNER/NAME}` takes them from a dataset:"
    yield "# dataset:\n#   samples: 100"
    yield "checks:\n  max_bytes: 10MB"
