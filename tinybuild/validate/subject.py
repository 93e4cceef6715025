"""The bundle under test: its folder, what its receipts say, and what is loaded from it."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild.config import heads, overrides, reads
from tinybuild.errors import Fault
from tinybuild.feeding.inputs import Continued, continued
from tinybuild.keys import PROCESSORS, mentioned
from tinybuild.tokenizer.loading import load
from tinybuild.validate.reader import Reader, reader


class NotTried(Exception):
    """What a check looks at cannot be had here (a package is missing, say): it says nothing."""


_BESIDE = re.compile(
    r"(labels|mask|masks|position_ids|_positions|type_ids|grid_thw|grids|shapes?|sizes?(_videos)?|lengths?|num_\w+|"
    r"pos|ids_restore|observed\w*|indices|noise|_ids_of_\w+|aspect_ratio_ids|is_longer|rewards|"
    r"langs|lang_ids|future_values|^height|^width|patches_grid|images_per_sample|^freq|cutoffs|"
    r"structure|second_per_grid)$"
)


# What generation makes by itself, or must not be given.
_MADE = re.compile(r"labels|^decoder_|^perm_mask$|^target_mapping$")


def contents(batch: Mapping[str, Any]) -> list[str]:
    """The inputs that carry something to understand: not masks, positions, sizes and labels."""
    import torch

    return [
        name
        for name, value in batch.items()
        if isinstance(value, torch.Tensor)
        and value.dtype != torch.bool
        and value.numel() > 1
        and not _BESIDE.search(name)
    ]


class Subject:
    """The bundle under test, loaded from its packed form, each part once.

    `folder` is the bundle's layout, `scratch` an empty folder, `facts` the receipts' facts by
    stage, `checks` the recipe's bounds. `upstream` holds the files of the tokenizer that a
    shrunken one is compared with, `tokenizer_class` its class if the recipe names one. `origin`
    holds the config files of the model's source, `wish` what the recipe's model section says
    (config: the overrides, shrink, size).
    """

    def __init__(
        self,
        *,
        folder: Path,
        scratch: Path,
        facts: Mapping[str, Mapping[str, Any]],
        checks: Mapping[str, Any],
        seed: int,
        upstream: Path | None = None,
        tokenizer_class: str | None = None,
        origin: Path | None = None,
        wish: Mapping[str, Any] | None = None,
    ):
        self._upstream, self._class, self._origin = upstream, tokenizer_class, origin
        self.wish = {"config": {}, "shrink": "none", "size": "tiny", **(wish or {})}
        self.folder, self.scratch, self.facts = folder, scratch, facts
        self.checks, self.seed = checks, seed

    @functools.cached_property
    def parts(self) -> frozenset[str]:
        """What a check may need: the stages that made something; `shrunk`, a tokenizer that has a
        source to be compared with; `processor`, the files of one."""
        parts = {*self.facts}
        if self.facts.get("tokenizer", {}).get("shrunk"):
            parts.add("shrunk")
        if any((self.folder / name).is_file() for name in PROCESSORS):
            parts.add("processor")
        return frozenset(parts)

    @functools.cached_property
    def tokenizer(self) -> Any:
        return self.load_tokenizer(self.folder)

    @property
    def upstream(self) -> Path:
        assert self._upstream is not None  # the plan gives it to methods that shrink
        return self._upstream

    @functools.cached_property
    def source(self) -> Any:
        """The tokenizer that a shrunken one comes from."""
        return load(self.upstream, self._class, "path")

    def load_tokenizer(self, folder: Path) -> Any:
        return load(folder, None, "path")

    @functools.cached_property
    def _loaded(self) -> tuple[Any, dict[str, Any]]:
        return self.load_model(self.folder)

    @property
    def model(self) -> Any:
        return self._loaded[0]

    @property
    def loading(self) -> dict[str, Any]:
        """What from_pretrained says of missing, unexpected and mismatched keys."""
        return self._loaded[1]

    def load_model(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        """The model as from_pretrained gives it, in its own dtype, and the loading report."""
        config = json.loads((folder / "config.json").read_text())
        kind = heads.find(self.facts["model"]["class"], config["model_type"])
        assert kind is not None
        model, info = kind.from_pretrained(folder, dtype="auto", output_loading_info=True)
        return model.eval(), info

    @property
    def reader(self) -> Reader:
        return reader()

    @functools.cached_property
    def source_config(self) -> Any:
        """The config of the model's source as transformers reads it; None without one."""
        if self._origin is None:
            return None
        return heads.choose(self.facts["model"]["class"], overrides.load(self._origin))[1]

    def source_file(self, name: str) -> dict[str, Any]:
        """A JSON file of the model's source; empty if there is none."""
        path = None if self._origin is None else self._origin / name
        return self._json(path)

    def file(self, name: str) -> dict[str, Any]:
        """A JSON file of the bundle; empty if there is none."""
        return self._json(self.folder / name)

    def _json(self, path: Path | None) -> dict[str, Any]:
        if path is None or not path.is_file():
            return {}
        data = json.loads(path.read_text(encoding="utf-8"))
        return data if isinstance(data, dict) else {}

    @functools.cached_property
    def anew(self) -> tuple[Any, reads.Reads]:
        """A model made anew from the config, all memory that is not initialised filled with NaN,
        and which keys of the config were read by that."""
        import torch

        memory = torch.utils.deterministic
        before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            memory.fill_uninitialized_memory,
        )
        with torch.random.fork_rng(devices=[]), reads.recording() as found:
            torch.manual_seed(self.seed)
            torch.use_deterministic_algorithms(True, warn_only=True)
            memory.fill_uninitialized_memory = True
            try:
                model = type(self.model)(copy.deepcopy(self.model.config))
            finally:
                torch.use_deterministic_algorithms(before[0], warn_only=before[1])
                memory.fill_uninitialized_memory = before[2]
        return model, found

    @functools.cached_property
    def _batch(self) -> dict[str, Any] | Fault:
        from tinybuild.feeding.inputs import batch

        try:
            return batch(self.model, self.seed)
        except Fault as fault:
            return fault

    @property
    def batch(self) -> dict[str, Any]:
        """One seeded batch; raises NotTried where no rule makes one."""
        if isinstance(self._batch, Fault):
            raise NotTried("no rule makes inputs for the model: the check forward says why")
        return self._batch

    @property
    def no_batch(self) -> Fault | None:
        """Why no rule makes inputs for the model, if none does."""
        return self._batch if isinstance(self._batch, Fault) else None

    def batch_of(self, number: int) -> dict[str, Any]:
        """The batch with other contents, as many as there are numbers: other noise, other ids;
        masks, positions and placeholders stay. 0 is `batch`."""
        import torch

        if not number:
            return self.batch
        drawn = torch.Generator().manual_seed(self.seed + number)
        given = dict(self.batch)
        for name in contents(given):
            given[name] = self.other(name, given[name], drawn)
        return given

    @functools.cached_property
    def special(self) -> frozenset[int]:
        """The ids that config and generation config name."""
        return frozenset(
            number
            for name in ("config.json", "generation_config.json")
            for number in mentioned(self.file(name))
        )

    def other(self, name: str, value: Any, drawn: Any) -> Any:
        """Other contents for one input: other noise of the same width, other token ids in place of
        all that are nothing special, and otherwise the same numbers in other places."""
        import torch

        if value.is_floating_point():
            width = max(float(value.float().std(correction=0)), 0.1)
            return value + (torch.randn(value.shape, generator=drawn) * width).to(value.dtype)
        if value.dim() == 3 and "input_ids" not in name:
            return value.roll(1, dims=1)  # boxes, codes: whole ones, in other places
        flat = value.clone().reshape(-1)
        plain = [i for i, number in enumerate(flat.tolist()) if number not in self.special]
        low, high = (int(flat[plain].min()), int(flat[plain].max())) if plain else (0, 0)
        if "input_ids" in name:
            pool = [number for number in range(low, high + 1) if number not in self.special]
            if len(pool) > 1:
                at = torch.randint(len(pool), (len(plain),), generator=drawn)
                flat[plain] = torch.tensor(pool, dtype=flat.dtype)[at]
        elif len(plain) > 1:
            flat[plain] = flat[plain].roll(1)
        return flat.reshape(value.shape)

    @functools.cached_property
    def outputs(self) -> dict[str, Any]:
        """The model's floating-point outputs for the batch, name -> tensor, without gradients."""
        return self.computed(self.batch)

    def computed(self, batch: Mapping[str, Any], model: Any = None) -> dict[str, Any]:
        """The outputs for another batch (of another model), drawn with the same random numbers."""
        import torch

        from tinybuild.feeding.inputs import tensors

        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return tensors((model or self.model)(**batch))

    @functools.cached_property
    def exact(self) -> Any:
        """The model in float32, for what rounding would hide: gradients, steps, differences."""
        import torch

        if all(p.dtype == torch.float32 for p in self.model.parameters()):
            return self.model
        kind = type(self.model)  # read anew: some classes remember what they computed before
        return kind.from_pretrained(self.folder, dtype=torch.float32).eval()

    def exact_batch(self, number: int = 0) -> dict[str, Any]:
        """A batch for `exact`."""
        import torch

        batch = self.batch if number == 0 else self.batch_of(number)
        return {
            name: value.float()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
            else value
            for name, value in batch.items()
        }

    @property
    def rows(self) -> int | None:
        """Rows of the token embedding; None for a model without one."""
        size = getattr(heads.text_part(self.model.config), "vocab_size", None)
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
    def _continued(self) -> Continued:
        return continued(self.model, [self.batch_of(number) for number in range(2)], self.seed)

    @property
    def generated(self) -> list[tuple[Any, Any]] | None:
        """Greedy continuations of two batches: the new tokens and the logits (steps, rows, ids) of
        each; None for a class that generates nothing from token ids. Raises what it raised, and
        NotTried where a package is missing."""
        if self.rows is None:
            return None
        error = self._continued.error
        if isinstance(error, ImportError):  # of what only generation needs
            raise NotTried(str(error).partition("\n")[0])
        if error is not None:
            raise error
        return list(self._continued.parts) or None
