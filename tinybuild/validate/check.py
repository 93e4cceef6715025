"""What a check is, and what it looks at."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild import heads
from tinybuild.errors import Fault
from tinybuild.tokenizer.loading import load


@dataclass(frozen=True, kw_only=True)
class Check:
    """One assertion: what was measured, what was wanted, and a note for the reader."""

    name: str
    ok: bool
    measured: str
    wanted: str
    note: str = ""

    def data(self) -> dict[str, Any]:
        """The check as it stands in report.json."""
        return dict(vars(self))


def failed(name: str, error: Exception) -> Check:
    """The check that an exception makes of it."""
    if isinstance(error, Fault):
        measured = error.findings[0].what
    else:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        measured = f"{type(error).__name__}: {lines[0] if lines else ''}"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    note = f"raised in {Path(last.filename).name}:{last.lineno} ({last.name})"
    return Check(name=name, ok=False, measured=measured, wanted="no error", note=note)


class Subject:
    """The bundle under test, loaded from its packed form, each part once.

    `folder` is the bundle's layout, `scratch` an empty folder, `facts` the receipts' facts by
    stage, `checks` the recipe's bounds. `upstream` holds the files of the tokenizer that a
    shrunken one is compared with, `tokenizer_class` its class if the recipe names one.
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
    ):
        self._upstream, self._class = upstream, tokenizer_class
        self.folder, self.scratch, self.facts = folder, scratch, facts
        self.checks, self.seed = checks, seed

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
    def model(self) -> Any:
        return self.load_model(self.folder)[0]

    def load_model(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        """The model as from_pretrained gives it, in its own dtype, and the loading report."""
        config = json.loads((folder / "config.json").read_text())
        kind = heads.find(self.facts["model"]["class"], config["model_type"])
        model, info = kind.from_pretrained(folder, dtype="auto", output_loading_info=True)
        return model.eval(), info

    @functools.cached_property
    def batch(self) -> dict[str, Any]:
        from tinybuild.inputs import batch

        return batch(self.model, self.seed)

    @functools.cached_property
    def outputs(self) -> dict[str, Any]:
        """The model's floating-point outputs for the batch, name -> tensor, without gradients."""
        import torch

        from tinybuild.inputs import tensors

        with torch.no_grad():
            return tensors(self.model(**self.batch))
