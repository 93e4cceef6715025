"""The tokenizer stage: a method's tokenizer, its files, and what a model must know of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import sections
from tinybuild.facts import Ids, TokenizerFacts
from tinybuild.files import pretty
from tinybuild.keys import elsewhere
from tinybuild.reading import reading
from tinybuild.tokenizer import chat, choose, order, upstream, vocabulary
from tinybuild.tokenizer.chat import Given
from tinybuild.tokenizer.loading import load
from tinybuild.tokenizer.methods import METHODS
from tinybuild.tokenizer.upstream import Upstream
from tinybuild.tokenizer.work import Made, Work
from tinybuild.workers import Job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Keys of tokenizer_config.json that tell how the tokenizer was loaded, not what it is.
TRANSIENT = (
    *("is_local", "local_files_only", "name_or_path", "files_loaded"),
    *("special_tokens_map_file", "tokenizer_file"),
)

SOURCE = "the source's tokenizer"
FAST = "PreTrainedTokenizerFast"  # a tokenizer that is its tokenizer.json, in every version


def keep(work: Work) -> Made:
    """method: keep. The source's tokenizer as it is."""
    return Made(loaded=work.origin.loaded)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The stage's settings.

    tokenizer: the recipe's section. slot: whose fetched folder to use, or none. kind: of that
    source. blank: whether its ids mean nothing. related: whether config and tokenizer share it.
    compat: whether transformers 4 is to read the files alike.
    """

    tokenizer: sections.Tokenizer
    slot: str
    kind: str
    blank: bool
    related: bool
    compat: bool = False

    def folder(self, job: Job) -> Path:
        """Where the source's files are."""
        return job.inputs["fetch"] / self.slot if self.slot else job.out

    def work(self, job: Job, section: sections.Tokenizer, source: Upstream | None) -> Work:
        """What the method gets."""
        return Work(
            section=section,
            text=METHODS[section["method"]].text,
            source=source,
            folder=self.folder(job),
            inputs=job.inputs,
            out=job.out,
        )


def tell(folder: Path) -> None:
    """Leave out of a folder's tokenizer_config.json how it was loaded, and what is elsewhere."""
    config = folder / "tokenizer_config.json"
    data = json.loads(config.read_text())
    told = {k: v for k, v in data.items() if k not in TRANSIENT and not elsewhere(k, v)}
    config.write_text(pretty(told))


def older(folder: Path, loaded: PreTrainedTokenizerBase) -> None:
    """Write tokenizer_config.json so that transformers 4 reads the tokenizer alike.

    There a class of a family builds its pipeline itself, and adds a BOS of its own accord; of
    PreTrainedTokenizerFast both versions take what tokenizer.json says. What a class has as its
    default is then written out. Extra special tokens had another name.
    """
    path = folder / "tokenizer_config.json"
    data = json.loads(path.read_text())
    if (folder / "tokenizer.json").is_file():
        data["tokenizer_class"] = FAST
        for name in ("model_input_names", "clean_up_tokenization_spaces", "padding_side"):
            data[name] = getattr(loaded, name)
        steps = json.loads((folder / "tokenizer.json").read_text())["pre_tokenizer"] or {}
        data["add_prefix_space"] = steps.get("add_prefix_space", False)
    if isinstance(data.get("extra_special_tokens"), list):
        data["additional_special_tokens"] = data.pop("extra_special_tokens")
    path.write_text(pretty(data))


@reading(SOURCE, "tokenizer")
def review(job: Job) -> None:
    """Refuse what `make` would refuse, as far as that shows before a vocabulary is chosen or
    learned: no tokenizer in the source, no such class, tokens or a size that the source lacks.

    Settings and inputs as for `make`; what the recipe gives itself (method: scratch) is made, in
    `out`, for that is as quick.
    """
    asked = job.asked(Asked)
    section, method = asked.tokenizer, METHODS[asked.tokenizer["method"]]
    folder = asked.folder(job)
    if not method.source:
        method.function(asked.work(job, section, None))
        return
    files = upstream.read(folder)
    loaded = load(folder, section.get("class"), asked.kind)
    if method.shrinks:
        Given.of(section, job.inputs, None).kept(section, loaded.get_vocab())
        ids = Upstream(loaded=loaded, files=files).spaces[0].ids
        choose.within(ids, section["vocab_size"])


@reading(SOURCE, "tokenizer")
def make(job: Job) -> TokenizerFacts:
    """The tokenizer stage. Inputs: fetch, and dataset where the method reads it. Raises Fault."""
    asked = job.asked(Asked)
    section, method = asked.tokenizer, METHODS[asked.tokenizer["method"]]
    folder = asked.folder(job)
    given = Given.of(section, job.inputs, chat.default(folder) if asked.blank else None)
    source = None
    if method.source:
        files = upstream.read(folder)
        loaded = load(folder, section.get("class"), asked.kind)
        if method.shrinks:
            section = given.kept(section, loaded.get_vocab())
        else:
            given.give(loaded)
        source = Upstream(loaded=loaded, files=files)
    work = asked.work(job, section, source)
    made: Made = method.function(work)
    if made.shrunk is None:
        given.give(made.loaded)
        if asked.blank:
            order.behind(made.loaded)
        made.loaded.save_pretrained(job.out)
    elif given != Given():
        given.write(job.out)
        made = replace(made, loaded=load(job.out, None, "path"))
    tell(job.out)
    if asked.compat:
        older(job.out, made.loaded)
    sizes = vocabulary.sizes(made.loaded, section.get("pad_to_multiple_of", 1))
    moves = source is not None and asked.related and not asked.blank
    return TokenizerFacts(
        class_=type(made.loaded).__name__,
        method=section["method"],
        vocab_size=len(made.loaded),
        rows=sizes["vocab_size"],
        ids=Ids(
            sizes=sizes,
            special=vocabulary.special(made.loaded, folder),
            moved=vocabulary.moved(made.loaded, work.origin.loaded, folder) if moves else {},
            keep=method.unchanged,
            missing=section.get("missing_ids", "any" if asked.blank else "error"),
        ),
        shrunk=made.shrunk,
        unused=made.unused,
        bytes=sum(path.stat().st_size for path in job.out.rglob("*") if path.is_file()),
    )
