"""The bundle under test: its folder, what its receipts say, and what is loaded from it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from tinybuild import bundle, wire
from tinybuild.config import backbones, found, heads, reads
from tinybuild.errors import BuildFault, Fault, first_line
from tinybuild.expected import format as expected
from tinybuild.expected.format import Expected
from tinybuild.facts import ModelShown
from tinybuild.feeding import inputs
from tinybuild.feeding.inputs.contents import contents, renewed
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.keys import mentioned
from tinybuild.paths import Data
from tinybuild.portable.arithmetic import of_dtype, products
from tinybuild.tokenizer.loading import load
from tinybuild.validate import reader

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

T = TypeVar("T")
Loading = Mapping[str, Collection[object]]
Batch = Mapping[str, "Tensor"]


class NotTried(Exception):
    """What a check looks at cannot be had here (a package is missing, say): it says nothing."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the recipe's section `checks` bounds."""

    max_parameters: int = 50_000_000
    max_bytes: int | None = None
    max_coincidences: int = 0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the recipe's section `model` says of the config, and of the modules after it."""

    config: Mapping[str, object] = field(default_factory=dict)
    shrink: Literal["auto", "none"] = "none"
    size: Literal["tiny", "small"] = "tiny"
    sentence_transformer: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A bundle, and its parts, each loaded once, when a check first asks for it.

    folder: the bundle's layout. scratch: an empty folder. facts: those of the receipts, by stage.
    original: the files of the tokenizer that a shrunken one is compared with; tokenizer_class: its
    class, if the recipe names one. origin: the config files of the model's source.
    compat: whether version 4 of transformers is to read it alike.
    """

    folder: Path
    scratch: Path
    facts: Mapping[str, Data]
    seed: int
    bounds: Bounds = field(default_factory=Bounds)
    wish: Wish = field(default_factory=Wish)
    original: Path | None = None
    tokenizer_class: str | None = None
    origin: Path | None = None
    compat: bool = False
    _once: dict[Callable[[Subject], object], object] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def once(self, made: Callable[[Subject], T]) -> T:
        """What a function makes of the bundle, made when a check first asks for it."""
        if made not in self._once:
            self._once[made] = made(self)
        return cast(T, self._once[made])

    @functools.cached_property
    def parts(self) -> frozenset[str]:
        """What a check may need: the stages that made something; `shrunk`, a tokenizer that has a
        source to be compared with; `processor`, the files of one."""
        parts = {*self.facts}
        if self.facts.get("tokenizer", {}).get("shrunk"):
            parts.add("shrunk")
        if bundle.has_processor_file(self.folder):
            parts.add("processor")
        return frozenset(parts)

    @property
    def overrides(self) -> Data:
        """What the recipe sets in model.config."""
        return cast(Data, self.wish.config)

    def read(self, stage: str, kind: type[T]) -> T:
        """Those facts of a stage that a class of `tinybuild.facts` names."""
        return wire.load(kind, {key: self.facts[stage][key] for key in wire.keys(kind)})

    def file(self, name: str) -> Data:
        """A JSON file of the bundle; empty if there is none."""
        return bundle.data(self.folder / name)

    def source_file(self, name: str) -> Data:
        """A JSON file of the model's source; empty if there is none."""
        return {} if self.origin is None else bundle.data(self.origin / name)

    # --- tokenizer --------------------------------------------------------------------------------

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.load_tokenizer()

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """One of one's own, to be changed."""
        return load(self.folder, None, "path")

    @property
    def upstream(self) -> Path:
        """The files of the tokenizer that a shrunken one comes from."""
        assert self.original is not None  # the plan gives it to methods that shrink
        return self.original

    @functools.cached_property
    def source(self) -> PreTrainedTokenizerBase:
        """The tokenizer that a shrunken one comes from."""
        return load(self.upstream, self.tokenizer_class, "path")

    # --- model ------------------------------------------------------------------------------------

    @functools.cached_property
    def made(self) -> ModelShown:
        """What the receipt of the model says."""
        return self.read("model", ModelShown)

    @functools.cached_property
    def _loaded(self) -> tuple[PreTrainedModel, Loading]:
        kind = heads.find(self.made.class_, str(self.file("config.json")["model_type"]))
        assert kind is not None
        model, info = kind.from_pretrained(self.folder, dtype="auto", output_loading_info=True)
        return model.eval(), info

    @property
    def model(self) -> PreTrainedModel:
        """The model as from_pretrained gives it, in its own dtype."""
        return self._loaded[0]

    @property
    def loading(self) -> Loading:
        """What from_pretrained says of missing, unexpected and mismatched keys."""
        return self._loaded[1]

    @functools.cached_property
    def source_config(self) -> PretrainedConfig | None:
        """The config of the model's source as transformers reads it, and as it was shrunk; None
        without one."""
        if self.origin is None:
            return None
        config = heads.choose(self.made.class_, found.load(self.origin))[1]
        return backbones.own(config, self.overrides)[0] if self.wish.shrink == "auto" else config

    @functools.cached_property
    def anew(self) -> tuple[PreTrainedModel, reads.Reads]:
        """A model made anew from the config, all memory that is not initialised filled with NaN,
        and which keys of the config were read by that."""
        import torch

        memory = torch.utils.deterministic
        before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            memory.fill_uninitialized_memory,
        )
        with torch.random.fork_rng(devices=[]), reads.recording() as seen:
            torch.manual_seed(self.seed)
            torch.use_deterministic_algorithms(True, warn_only=True)
            memory.fill_uninitialized_memory = True
            try:
                model = type(self.model)(copy.deepcopy(self.model.config))
            finally:
                torch.use_deterministic_algorithms(before[0], warn_only=before[1])
                memory.fill_uninitialized_memory = before[2]
        return model, seen

    @functools.cached_property
    def exact(self) -> PreTrainedModel:
        """The model in float32, for what rounding would hide: gradients, steps, differences."""
        import torch

        if all(p.dtype == torch.float32 for p in self.model.parameters()):
            return self.model
        # Read anew: some classes remember what they computed before. Cast, too: a class may give a
        # part the dtype of the part's own config (T5Gemma 2).
        kind = type(self.model)
        return kind.from_pretrained(self.folder, dtype=torch.float32).float().eval()

    @property
    def rows(self) -> int | None:
        """Rows of the token embedding; None for a model without one."""
        size = heads.text_rows(self.model.config)
        try:
            weight = getattr(self.model.get_input_embeddings(), "weight", None)
        except NotImplementedError:
            weight = None
        if size is None:
            return None
        if weight is not None and weight.dim() == 2 and weight.shape[0] >= size:
            return int(weight.shape[0])
        return int(size)

    @functools.cached_property
    def elsewhere(self) -> reader.Found:
        """What the process that only reads bundles finds in this one, and its outputs. What a port
        is held to is left in `read_in`."""
        batches = reader.Batches(first=self.batch, second=self.batch_of(1), alone=self.alone)
        return reader.ask(self.question(self.read_in), batches)

    def question(self, scratch: Path) -> reader.Question:
        """What that process is asked about, which leaves its files in `scratch`."""
        return reader.Question(
            folder=str(self.folder),
            class_=self.made.class_,
            model_type=self.model.config.model_type,
            seed=self.seed,
            scratch=str(scratch),
        )

    @property
    def read_in(self) -> Path:
        """Where that process leaves its files."""
        return self.scratch / "read"

    @functools.cached_property
    def expected(self) -> Expected:
        """What a port is held to."""
        assert self.elsewhere
        return expected.read(self.read_in)

    @property
    def sizes(self) -> Mapping[str, int]:
        """file of the bundle -> bytes, with what a port is held to where that was made."""
        found = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*")}
        found |= {name: self.read_in / name for name in expected.FILES}
        return {name: path.stat().st_size for name, path in found.items() if path.is_file()}

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    # --- inputs and outputs -----------------------------------------------------------------------

    @functools.cached_property
    def _batch(self) -> Batch | Fault:
        try:
            made = inputs.batch(self.exact, self.seed)  # some CPUs are slow with shorter numbers
            given = of_dtype(made, self.model.dtype)
            with inputs.quiet(self.model), products(self.model.dtype):
                if inputs.attempt(self.model, given).error is None:
                    return given
            return inputs.batch(self.model, self.seed)  # what a loss computes has no such kernel
        except Fault as fault:
            return fault

    @property
    def batch(self) -> Batch:
        """One seeded batch; raises NotTried where no rule makes one."""
        if isinstance(self._batch, Fault):
            raise NotTried("no rule makes inputs for the model: the check forward says why")
        return self._batch

    @property
    def no_batch(self) -> Fault | None:
        """Why no rule makes inputs for the model, if none does."""
        return self._batch if isinstance(self._batch, Fault) else None

    def batch_of(self, number: int) -> Batch:
        """The batch with other contents, as many as there are numbers: other noise, other ids;
        masks, positions and placeholders stay. 0 is `batch`."""
        import torch

        if not number:
            return self.batch
        drawn = torch.Generator().manual_seed(self.seed + number)
        new = {n: renewed(n, self.batch[n], self.special, drawn) for n in contents(self.batch)}
        return {**self.batch, **new}

    def exact_batch(self, number: int = 0) -> Batch:
        """A batch for `exact`."""
        import torch

        return of_dtype(self.batch_of(number), torch.float32)

    @functools.cached_property
    def alone(self) -> Mapping[str, Batch]:
        """modality -> a batch for `exact` that holds it, of those that `batch` does not hold."""
        return inputs.apart(self.exact, self.exact_batch(), self.seed)

    @functools.cached_property
    def special(self) -> frozenset[int]:
        """The ids that config and generation config name."""
        generation = self.file("generation_config.json")
        return Facts(self.model).special | {*mentioned(generation, named=False)}

    @functools.cached_property
    def outputs(self) -> Batch:
        """The model's floating-point outputs for the batch, name -> tensor, without gradients."""
        return self.computed(self.batch)

    @functools.cached_property
    def exact_outputs(self) -> Batch:
        """Those of the model in float32."""
        return self.computed(self.exact_batch(), self.exact)

    def computed(self, batch: Batch, model: PreTrainedModel | None = None) -> Batch:
        """The outputs for another batch (of another model), drawn with the same random numbers."""
        import torch

        made = model or self.model
        with torch.no_grad(), torch.random.fork_rng(devices=[]), products(made.dtype):
            torch.manual_seed(self.seed)
            return inputs.tensors(made(**batch))

    @property
    def generated(self) -> list[tuple[Tensor, Tensor]] | None:
        """A greedy continuation of the batch: the new tokens and the logits (steps, rows, ids);
        None for a class that generates nothing from token ids. Raises what it raised, and NotTried
        where a package is missing."""
        if self.rows is None:
            return None
        with products(self.model.dtype):
            made = inputs.continued(self.model, [self.batch], self.seed)
        if isinstance(made.error, ImportError):  # of what only generation needs
            raise NotTried(first_line(made.error))
        if made.error is not None:
            raise made.error
        return list(made.parts) or None

    @property
    def generated_exactly(self) -> list[tuple[Tensor, Tensor]] | None:
        """The same of two batches, in float32, as the process that only reads bundles has it."""
        if self.rows is None:
            return None
        went = self.elsewhere.answer.went
        if went.lacking:
            raise NotTried(went.lacking)
        if went.refused:
            raise BuildFault.of(went.refused)
        return [*self.elsewhere.continued] or None
