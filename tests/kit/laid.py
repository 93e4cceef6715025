"""A bundle's folder written by hand, file by file, without torch: what a comparison reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinybuild import statement
from tinybuild.statement import Asked

RECIPE = """\
version: 1
summary: by hand
source: {hub: org/full}
tokenizer: {method: truncate, vocab_size: 3}
model:
  architecture: LlamaForCausalLM
  config:
    hidden_size: 16
    num_hidden_layers: 1
dataset: {samples: 2}
"""
TENSORS: Mapping[str, tuple[str, list[int], bytes]] = {
    "embed.weight": ("F32", [1, 2], bytes(8)),
    "lm_head.weight": ("F32", [2], bytes(range(8))),
}


def safetensors(tensors: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    """The bytes of a safetensors file."""
    header, data = dict[str, Any](), b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + data


@dataclass(kw_only=True)
class Bundle:
    """What stands in the bundle; a test changes one thing of it."""

    recipe: str = RECIPE
    config: dict[str, Any] = field(
        default_factory=lambda: {"hidden_size": 16, "num_hidden_layers": 1, "pad_token_id": 0}
    )
    vocabulary: dict[str, int] = field(default_factory=lambda: {"<pad>": 0, "a": 1, "b": 2})
    template: str = "{{ messages }}\nend\n"
    tensors: dict[str, tuple[str, list[int], bytes]] = field(default_factory=lambda: {**TENSORS})
    rows: Sequence[Mapping[str, Any]] = ({"text": "one", "n": 1}, {"text": "two", "n": 2})
    checks: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"reload": {"state": "passed", "values": {"tensors": 2}}}
    )
    commit: str = "a" * 40
    files: dict[str, str] = field(default_factory=lambda: {"config.json": "1" * 64})
    toolchain: dict[str, str] = field(
        default_factory=lambda: {"transformers": "5.23.0", "torch": "2.13.0", "pyarrow": "22.0"}
    )

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        tokenizer = {"version": "1.0", "model": {"type": "BPE", "vocab": self.vocabulary}}
        checks = [{"name": name, **told} for name, told in self.checks.items()]
        files = {name: {"sha256": sha256, "size": 1} for name, sha256 in self.files.items()}
        pin = {"wish": {"hub": "org/full"}, "commit": self.commit, "files": files}
        pins = {"version": 1, "pins": {"source": pin}}
        toolchain = {"tinybuild": "0.1.0", **self.toolchain}
        for name, data in {
            "config.json": self.config,
            "tokenizer.json": tokenizer,
            "report.json": {"version": 1, "checks": checks},
            "recipe.lock.json": pins,
            "provenance.json": statement.write({}, Asked(recipe=folder.name), toolchain, pins),
        }.items():
            (folder / name).write_text(json.dumps(data))
        (folder / "recipe.yaml").write_text(self.recipe)
        (folder / "chat_template.jinja").write_text(self.template)
        (folder / "model.safetensors").write_bytes(safetensors(self.tensors))
        if self.rows:
            _parquet(self.rows, folder / "dataset" / "data" / "train-00000-of-00001.parquet")
        return folder


def _parquet(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    file.parent.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), file)
