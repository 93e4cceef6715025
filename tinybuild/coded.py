"""The text of transformers' own code, by model type: it is read, and not imported.

Imports of all models take minutes.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path


@functools.cache
def code(model_type: str, part: str = "modeling") -> str:
    """The text of a part (modeling, processing) of a model type's code; "" where there is none."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    name = model_type_to_module_name(model_type)
    package = (
        importlib.util.find_spec(f"transformers.models.{name}") if name.isidentifier() else None
    )
    folders = (package.submodule_search_locations or ()) if package is not None else ()
    files = (Path(folder, f"{part}_{name}.py") for folder in folders)
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")
