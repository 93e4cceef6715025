"""A bundle as a test or a script uses it: its path, and what its libraries load from it."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import bundle
from tinybuild.errors import BuildFault
from tinybuild.expected import format

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.processing_utils import ProcessorMixin

    from tinybuild.expected.format import Expected


class Bundle:
    """What is loaded is kept, so two asked for one after another share nothing.

    scratch: a folder for copies; a temporary one, gone with the object, where there is none.
    """

    def __init__(self, path: Path, scratch: Path | None = None):
        self.path, self.name = path, path.name
        self._scratch = scratch

    def __repr__(self) -> str:
        return f"Bundle({self.name})"

    def __fspath__(self) -> str:
        return str(self.path)

    @functools.cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="tinybuild-")

    def _folder(self) -> Path:
        """A new folder to write to."""
        above = self._scratch or Path(self._temporary.name)
        return Path(tempfile.mkdtemp(dir=above, prefix=f"{self.name}-"))

    def _need(self, what: str, *names: str) -> None:
        if not any((self.path / name).exists() for name in names):
            raise BuildFault.of(
                f"the bundle {self.name} has no {what}", hint=f"its recipe has no section {what}"
            )

    @functools.cached_property
    def config(self) -> PreTrainedConfig:
        self._need("model", "config.json")
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(self.path)

    def model(self, **options: object) -> PreTrainedModel:
        """A new model of the class that the config names; options as of from_pretrained."""
        names, kind = self.config.architectures or [], self.config.model_type
        from tinybuild.config import heads

        found = heads.find(names[0], kind) if names else None
        if found is None:
            raise BuildFault.of(f"transformers has no class for the bundle {self.name}")
        return found.from_pretrained(self.path, **options)

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        self._need("tokenizer", bundle.TOKENIZER)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.path)

    @functools.cached_property
    def processor(self) -> ProcessorMixin:
        if not bundle.has_processor(self.path):
            what = f"the bundle {self.name} has no processor"
            raise BuildFault.of(what, hint="one of texts alone has a tokenizer: .tokenizer")
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(self.path)

    @functools.cached_property
    def dataset(self) -> DatasetDict:
        """Its splits. What datasets writes down beside them is in a folder of this object."""
        self._need("dataset", bundle.DATASET)
        from datasets import load_dataset

        return load_dataset(str(self.path / bundle.DATASET), cache_dir=str(self._folder()))

    @functools.cached_property
    def expected(self) -> Expected:
        """Sample inputs, and what the model gives for them."""
        return format.read(self.path)

    def copy(self) -> Bundle:
        """The same files in a new folder, to change."""
        place = self._folder() / self.name
        shutil.copytree(self.path, place)
        made = Bundle(place, self._scratch)
        if self._scratch is None:
            made.__dict__["_temporary"] = self._temporary  # stays as long as the copy is used
        return made
