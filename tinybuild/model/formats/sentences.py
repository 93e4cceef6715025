"""The modules of sentence-transformers: the model, pooling, and vectors of length 1."""

from __future__ import annotations

from collections.abc import Iterator

from tinybuild.config import heads
from tinybuild.errors import BuildFault
from tinybuild.facts import Form
from tinybuild.files import pretty
from tinybuild.model.formats.work import Work

# The recipe's word for a way to make one vector of many -> the library's key for it.
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
KINDS = "sentence_transformers.models"  # the names that every release of the library knows


def write(work: Work) -> Iterator[Form]:
    """modules.json, and a folder for each module after the model itself."""
    wish = work.section["sentence_transformer"]
    width = getattr(heads.text_part(work.model.config), "hidden_size", None)
    if width is None:
        raise BuildFault.of(
            f"the config of {type(work.model).__name__} does not say how wide its vectors are "
            "(hidden_size)",
            key=("model", "sentence_transformer"),
            hint="delete sentence_transformer",
        )
    pooling = {key: word == wish["pooling"] for word, key in POOLINGS.items()}
    modules: list[tuple[str, dict[str, object]]] = [
        ("Pooling", {"word_embedding_dimension": width, **pooling, "include_prompt": True})
    ]
    if wish["normalize"]:
        modules.append(("Normalize", {}))
    rows = [{"idx": 0, "name": "0", "path": "", "type": f"{KINDS}.Transformer"}]
    for n, (kind, config) in enumerate(modules, 1):
        path = f"{n}_{kind}"
        rows.append({"idx": n, "name": str(n), "path": path, "type": f"{KINDS}.{kind}"})
        (work.folder / path).mkdir()
        (work.folder / path / "config.json").write_text(pretty(config), encoding="utf-8")
    told = {"modules.json": rows, "config_sentence_transformers.json": {"prompts": {}}}
    for file, data in told.items():
        (work.folder / file).write_text(pretty(data), encoding="utf-8")
    length = ", of length 1" if wish["normalize"] else ""
    yield Form(
        kind="modules",
        path="modules.json",
        words=f"vectors of sentences ({wish['pooling']} pooling{length}, {width} numbers)",
    )
