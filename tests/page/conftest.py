"""Bundles as a build would leave them, written by hand, for pages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.laid import Bundle
from tokenizers import Tokenizer, models, pre_tokenizers

from tinybuild.catalog.rows import row
from tinybuild.page.site import Entry

CARD = """\
---
license: mit
pipeline_tag: text-generation
---

# one

```python
model = Model.from_pretrained("dist/one")
```
"""
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
STATES = {"reload": "passed", "beam": "not tried", "loss": "failed"}


def words(folder: Path, *known: str) -> None:
    """A tokenizer.json that cuts at spaces and knows these words."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", *known])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))


@pytest.fixture
def entry(tmp_path: Path) -> Callable[..., Entry]:
    """A bundle in tmp_path/dist, and what a zoo says of it."""

    def make(name: str, group: str = "", state: str = "up to date", model: str = "gpt2") -> Entry:
        checks = {
            check: {"state": now, "measured": "<2> & 3", "wanted": "all", "note": "", "values": {}}
            for check, now in STATES.items()
        }
        rows = [{"text": "<b>one</b>", "image": {"bytes": PNG, "path": "a.png"}}]
        place = Bundle(checks=checks, rows=rows).write(tmp_path / "dist" / name)
        config = f'{{"model_type": "{model}", "architectures": ["A{len(name)}"], "n_layer": 2}}'
        (place / "config.json").write_text(config)
        (place / "README.md").write_text(CARD)
        (place / "SHA256SUMS").write_text(f"{name}\n")
        changes = '[{"key": "n_layer", "from": 12, "to": 2, "reason": "rule depth"}]'
        (place / "config_changes.json").write_text(f'{{"changes": {changes}}}')
        outputs = '[{"name": "logits"}, {"name": "loss", "value": 3.5}]'
        case = f'{{"name": "forward", "modalities": ["text"], "outputs": {outputs}}}'
        (place / "expected").mkdir()
        (place / "expected" / "expected.json").write_text(f'{{"cases": [{case}]}}')
        words(place, "The", "quick")
        words(tmp_path / "fetched" / name, "The", "quick", "brown")
        return Entry(
            name=name,
            group=group,
            state=state,
            summary=f"for <tests> of {name}",
            row=row(place),
            sources=(tmp_path / "fetched" / name,),
        )

    return make
