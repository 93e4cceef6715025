"""What the Hub calls a class's task."""

from __future__ import annotations

import pytest

from tinybuild.config import heads
from tinybuild.config.tags import SAME, TAGS, tag


@pytest.mark.parametrize(
    ("name", "model_type", "wanted"),
    [
        ("LlamaForCausalLM", "llama", "text-generation"),
        ("BertForMaskedLM", "bert", "fill-mask"),
        ("MT5ForConditionalGeneration", "mt5", "text-generation"),
        ("LlavaForConditionalGeneration", "llava", "image-text-to-text"),
        ("WhisperForConditionalGeneration", "whisper", "automatic-speech-recognition"),
        ("BertForSequenceClassification", "bert", "text-classification"),
        ("ViTForImageClassification", "vit", "image-classification"),
        ("BertForNextSentencePrediction", "bert", ""),
    ],
)
def test_tags(name: str, model_type: str, wanted: str) -> None:
    assert tag(name, model_type, ("text",)) == wanted


def test_a_class_without_a_head_is_for_its_features() -> None:
    assert tag("BertModel", "bert", ("text",)) == "feature-extraction"
    assert tag("CLIPModel", "clip", ("image", "text")) == "zero-shot-image-classification"


def test_the_tables_name_tasks() -> None:
    assert {*TAGS, *SAME} <= {*heads.TASKS}
    assert not {*TAGS} & SAME
