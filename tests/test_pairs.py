"""A recipe's own rows train its model: each kind of pair, and the mutants that the check finds."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import edit

from tinybuild import bundle, model, source, tokenizer, validate
from tinybuild.validate import pairs
from tinybuild.validate.check import Check, Subject
from tinybuild.workers import Job

TEXTS = (
    "The train to the coast leaves at nine, and it is full every morning.",
    "A cat sat on the wall.",
    "Rain fell all day; the river rose by a metre.",
    "Who has seen the wind?",
    "Bread, salt and a cup of tea stood on the table.",
    "She wrote the letter twice and sent neither.",
)
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
PLAIN = {k: v for k, v in TEXT.items() if k not in ("num_key_value_heads", "head_dim")}
VISION = {**PLAIN, "image_size": 32, "patch_size": 8}
TOWERS = {"text_config": TEXT, "vision_config": VISION}
CLIP = ("clip", "CLIPModel", {"text_config": PLAIN, "vision_config": VISION})
LLAMA = ("llama", "LlamaForCausalLM", {**PLAIN, "max_position_embeddings": 64})
BERT = {**PLAIN, "max_position_embeddings": 16}
T5 = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 2, "num_heads": 2}
BART = {
    "d_model": 16,
    **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
}
WHISPER = (
    "whisper",
    "WhisperForConditionalGeneration",
    {**BART, "max_source_positions": 40, "max_target_positions": 20},
)
WAVES = {
    **PLAIN,
    "conv_dim": [8, 8],
    "conv_stride": [5, 4],
    "conv_kernel": [10, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
LLAVA = ("llava", "LlavaForConditionalGeneration", TOWERS)

Rows = tuple[Any, Sequence[Mapping[str, Any]]]  # features, rows
Build = Callable[..., Subject]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """built(type, class, config, rows, words=a type): a bundle of the type's defaults, once; its
    tokenizer is trained, of the type or of another (None: it has none)."""
    kept: dict[str, tuple[Path, dict[str, Any]]] = {}

    def make(
        kind: str, name: str, config: Mapping[str, Any], rows: Rows, words: str | None = ""
    ) -> Subject:
        words = kind if words == "" else words
        key = f"{kind} {name} {config} {words}"
        if key not in kept:
            kept[key] = build(kind, name, config, words)
        packed, facts = kept[key]
        place = tmp_path_factory.mktemp("bundle")
        shutil.copytree(packed, place / "bundle")
        (place / "scratch").mkdir()
        return Subject(
            folder=place / "bundle",
            scratch=place / "scratch",
            facts={**facts, "dataset": write(place / "bundle" / "dataset", *rows)},
            checks={},
            seed=0,
        )

    def build(
        kind: str, name: str, config: Mapping[str, Any], words: str | None
    ) -> tuple[Path, dict[str, Any]]:
        root = tmp_path_factory.mktemp(kind)

        def job(stage: str, settings: Mapping[str, Any], facts: Any, **inputs: Path) -> Job:
            out = root / stage
            out.mkdir()
            return Job(
                task=f"{stage}:x",
                settings=settings,
                inputs=inputs,
                facts=facts,
                root=root,
                out=out,
                seed=0,
            )

        wishes = {"source": {"transformers": kind}}
        if words is not None and words != kind:
            wishes["tokenizer"] = {"transformers": words}
        work = job("fetch", {"wishes": wishes, "base": ".", "locks": {}}, {})
        source.fetch(work)
        facts: dict[str, Any] = {}
        if words is not None:
            slot = "source" if words == kind else "tokenizer"
            wide = words in ("bert", "t5")  # a token for each letter of the text, twice
            section = {"method": "train", "vocab_size": 2500 if wide else 500}
            settings = {"tokenizer": section, "slot": slot, "kind": "transformers"}
            settings |= {"blank": True, "related": words == kind}
            facts["tokenizer"] = tokenizer.make(job("tokenizer", settings, {}, fetch=work.out))
        section = {"architecture": name, "config": config, "dtype": "float32", "shrink": "none"}
        settings = {"model": section, "max_parameters": 10_000_000}
        facts["model"] = model.make(job("model", settings, facts, fetch=work.out))
        packed = root / "packed"
        packed.mkdir()
        bundle.lay({stage: root / stage for stage in facts}, packed)
        return packed, facts

    return make


def write(folder: Path, features: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A dataset of one split as the dataset stage leaves it; its facts."""
    import pyarrow
    from pyarrow import parquet

    (folder / "data").mkdir(parents=True)
    table = pyarrow.Table.from_pylist(list(rows), schema=features.arrow_schema)
    parquet.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return {
        "rows": len(rows),
        "columns": [[name, "x"] for name in features],
        "configs": {"default": {"train": len(rows)}},
    }


# --- rows -----------------------------------------------------------------------------------------


def picture(number: int, size: tuple[int, int] = (24, 16)) -> dict[str, Any]:
    from PIL import Image

    data = io.BytesIO()
    Image.effect_noise(size, 50 + number).convert("RGB").save(data, "png")
    return {"bytes": data.getvalue(), "path": None}


def noise(number: int, seconds: float = 0.5, rate: int = 16_000) -> dict[str, Any]:
    import numpy
    import soundfile

    data, drawn = io.BytesIO(), numpy.random.default_rng(number)
    soundfile.write(data, drawn.normal(0, 0.1, round(seconds * rate)), rate, format="WAV")
    return {"bytes": data.getvalue(), "path": None}


def texts(**more: Any) -> Rows:
    """Rows of text, and of a label or whatever is given (name=(feature, value of a number))."""
    from datasets import Features, Value

    features = Features({"text": Value("string"), **{k: f for k, (f, _) in more.items()}})
    rows = [
        {"text": text, **{k: value(n) for k, (_, value) in more.items()}}
        for n, text in enumerate(TEXTS)
    ]
    return features, rows


def labelled(count: int = 2, **more: Any) -> Rows:
    from datasets import ClassLabel

    names = [f"class {n}" for n in range(count)]
    return texts(label=(ClassLabel(names=names), lambda n: n % count), **more)


def without_text(rows: Rows) -> Rows:
    from datasets import Features

    features = Features({name: f for name, f in rows[0].items() if name != "text"})
    return features, [{name: row[name] for name in features} for row in rows[1]]


def images(**more: Any) -> Rows:
    from datasets import Image

    return texts(image=(Image(), picture), **more)


def sounds(**more: Any) -> Rows:
    from datasets import Audio

    return texts(audio=(Audio(sampling_rate=16_000), noise), **more)


def check(subject: Subject) -> Check:
    found = validate.run(pairs.rows_train, subject)
    assert found is not None
    return found
