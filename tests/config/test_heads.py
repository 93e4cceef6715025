"""Which class, and which part of the config: by name, by task, and by rule."""

from __future__ import annotations

from typing import Any

import pytest
from kit import faults

from tinybuild.config import heads


def default(kind: str, **more: Any) -> Any:
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[kind](**more)


def chosen(wish: str, config: Any) -> tuple[str, str]:
    """The class's name, and the type of the config that it takes."""
    kind, taken = heads.choose(wish, config)
    return kind.__name__, taken.model_type


def refused(wish: str, config: Any) -> tuple[str, str]:
    refusal = faults.refused(heads.choose, wish, config)
    return refusal.what, refusal.hint


def test_every_table_of_transformers_has_its_task() -> None:
    """A release of transformers with another auto class shows it here."""
    from transformers.models.auto import modeling_auto

    names = {n for n in vars(modeling_auto) if n.startswith("MODEL_FOR_") and n.endswith("_NAMES")}
    middles = [task.table for task in heads.TASKS.values()]
    ours = {n for middle in middles for n in names if n.startswith(f"MODEL_FOR_{middle}_")}
    assert ours == names
    assert all(map(heads.table, heads.TASKS))
    assert any(task.head for task in heads.TASKS.values())
    assert not all(task.head for task in heads.TASKS.values())


def test_a_task_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that a newer transformers has, and its task: by name, by rule, and in the hints."""
    from transformers.models.auto import modeling_auto

    table = {"vit": "ViTModel"}
    monkeypatch.setattr(modeling_auto, "MODEL_FOR_PETALS_MAPPING_NAMES", table, raising=False)
    ours = {"petal-counting": heads.Task(table="PETALS")}
    monkeypatch.setattr(heads, "TASKS", {**ours, **heads.TASKS})
    assert chosen("petal-counting", default("vit")) == ("ViTModel", "vit")
    assert chosen("auto", default("vit")) == ("ViTModel", "vit")
    assert refused("petal-count", default("vit"))[1] == "did you mean petal-counting?"
    monkeypatch.setattr(
        heads, "TASKS", {**heads.TASKS, **{n: heads.Task(table="PETALS", head=False) for n in ours}}
    )
    assert chosen("auto", default("vit")) == ("ViTForImageClassification", "vit")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("llama", "LlamaForCausalLM"),
        ("bert", "BertForMaskedLM"),  # not its decoder
        ("bart", "BartForConditionalGeneration"),  # not half of it
        ("llama4", "Llama4ForConditionalGeneration"),  # not the class of its text alone
        ("whisper", "WhisperForConditionalGeneration"),
        ("wav2vec2", "Wav2Vec2ForCTC"),
        ("clip", "CLIPModel"),  # not the classifier on one of its towers
        ("vit", "ViTForImageClassification"),
        ("detr", "DetrForObjectDetection"),
        ("clip_vision_model", "CLIPVisionModel"),  # no head: the base class
    ],
)
def test_auto_takes_all_of_a_type(kind: str, wanted: str) -> None:
    assert chosen("auto", default(kind)) == (wanted, kind)


def test_auto_is_what_the_source_names() -> None:
    config = default("bert", architectures=["BertForTokenClassification", "BertModel"])
    assert chosen("auto", config)[0] == "BertForTokenClassification"
    assert (
        "has no model class BertForFun"
        in refused("auto", default("bert", architectures=["BertForFun"]))[0]
    )


@pytest.mark.parametrize(
    ("kind", "task", "wanted", "taken"),
    [
        ("mt5", "seq2seq-lm", "MT5ForConditionalGeneration", "mt5"),
        ("llama", "sequence-classification", "LlamaForSequenceClassification", "llama"),
        ("deit", "image-classification", "DeiTForImageClassification", "deit"),  # first of two
        ("llama4", "causal-lm", "Llama4ForCausalLM", "llama4_text"),
        ("emu3", "causal-lm", "Emu3ForCausalLM", "emu3_text_model"),
        ("qwen3_5", "causal-lm", "Qwen3_5ForCausalLM", "qwen3_5_text"),
        ("mllama", "image-encoding", "MllamaVisionModel", "mllama_vision_model"),
        # Its table names a class of a sibling, which takes the config as it is.
        ("internlm3", "causal-lm", "LlamaForCausalLM", "internlm3"),
    ],
)
def test_a_task_and_the_config_its_class_takes(
    kind: str, task: str, wanted: str, taken: str
) -> None:
    assert chosen(task, default(kind)) == (wanted, taken)


def test_a_class_of_a_part_can_be_named() -> None:
    assert chosen("CLIPTextModel", default("clip")) == ("CLIPTextModel", "clip_text_model")


def test_what_a_type_does_not_have() -> None:
    what, hint = refused("ctc", default("vit"))
    assert what == "transformers has no class for ctc of vit"
    assert hint.startswith("one of image-classification, masked-image-modeling")
    assert "ViTForImageClassification" in hint
    what, hint = refused("casual-lm", default("llama"))
    assert (what, hint) == ("there is no task casual-lm", "did you mean causal-lm?")
    what, hint = refused("GPT2Model", default("llama"))
    assert what == "GPT2Model is not a class for llama"
    assert "causal-lm" in hint
    assert "LlamaModel" in hint
    what, hint = refused("auto", default("blip_text_model"))
    assert what == "transformers maps no model class to blip_text_model"
    assert chosen("BlipTextModel", default("blip_text_model"))[0] == "BlipTextModel"


def test_a_box_of_models_is_never_chosen_or_offered() -> None:
    assert chosen("auto", default("bark")) == ("BarkSemanticModel", "semantic")
    what, hint = refused("BarkModel", default("bark"))
    assert "BarkModel has no forward" in what
    assert "BarkModel" not in hint
    assert "BarkSemanticModel" in hint
    named = default("qwen3_omni_moe", architectures=["Qwen3OmniMoeForConditionalGeneration"])
    for config in (default("qwen3_omni_moe"), named):
        assert chosen("auto", config) == (
            "Qwen3OmniMoeThinkerForConditionalGeneration",
            "qwen3_omni_moe_thinker",
        )
    what, hint = refused("Qwen3OmniMoeForConditionalGeneration", named)
    assert "has no forward" in what
    assert "Qwen3OmniMoeForConditionalGeneration" not in hint
    assert "Qwen3OmniMoeThinkerForConditionalGeneration" in hint


def test_a_class_that_reads_no_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As timm_backbone's, whose from_pretrained makes a model of a name."""
    from transformers import BertModel

    def named(cls: type, name: str) -> None:
        raise AssertionError(name)

    def through(cls: type, name: str) -> Any:
        return super(BertModel, cls).from_pretrained(name)

    monkeypatch.setattr(BertModel, "from_pretrained", classmethod(through))
    assert chosen("BertModel", default("bert")) == ("BertModel", "bert")
    monkeypatch.setattr(BertModel, "from_pretrained", classmethod(named))
    what, hint = refused("BertModel", default("bert"))
    assert what == "BertModel cannot be loaded from a folder: its from_pretrained takes names only"
    assert "use it as a part of another model" in hint
    assert "BertModel" not in hint.partition("one of")[2].split(", ")


@pytest.mark.parametrize(
    ("kind", "pipeline", "meant"),
    [
        ("llama", "text-generation", "causal-lm"),
        ("bert", "fill-mask", "masked-lm"),
        ("wav2vec2", "automatic-speech-recognition", "ctc"),
        ("whisper", "automatic-speech-recognition", "speech-seq2seq"),
        ("llama", "ner", "token-classification"),
    ],
)
def test_what_pipelines_call_a_task(kind: str, pipeline: str, meant: str) -> None:
    what, hint = refused(pipeline, default(kind))
    assert (what, hint) == (f"there is no task {pipeline}", f"did you mean {meant}?")


def test_every_pipeline_of_transformers_is_known() -> None:
    """By our name or its own; features come from a class without a head."""
    from transformers import pipelines

    known = {*heads.TASKS, *(name for task in heads.TASKS.values() for name in task.pipelines)}
    headless = {"feature-extraction", "image-feature-extraction", "zero-shot-audio-classification"}
    assert {*pipelines.SUPPORTED_TASKS, *pipelines.TASK_ALIASES} <= known | headless


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' own texts, as its dummies and its models raise them."""
    import transformers
    from transformers.utils import import_utils

    text = "\n{0} requires the gone library but it was not found.\n`pip install gone`. And so on.\n"
    monkeypatch.setitem(import_utils.BACKENDS_MAPPING, "gone", (bool, text))
    dummy = import_utils.DummyObject("LlamaModel", (), {"_backends": ["gone"]})
    monkeypatch.setattr(transformers, "LlamaModel", dummy)
    what, hint = refused("LlamaModel", default("llama"))
    assert what == "LlamaModel needs the package gone, which is not installed or does not load here"
    assert hint == "pip install -c constraints.txt gone"
    assert chosen("auto", default("llama"))[0] == "LlamaForCausalLM"
    monkeypatch.setattr(transformers, "LlamaForCausalLM", dummy)
    assert chosen("auto", default("llama"))[0] == "LlamaForTokenClassification"
    fault = heads.absent("A", ImportError("A requires the b library but see https://b.org/x now"))
    assert fault.findings[0].hint == "see https://b.org/x"
    assert "No module named 'c'" in str(heads.absent("A", ImportError("No module named 'c'")))


def test_the_rows_of_a_text_beside_those_of_codes() -> None:
    assert heads.text_rows(default("csm")) == 128256
    assert heads.text_rows(default("llama4")) == 202048
    assert heads.text_rows(default("vit")) is None


def test_the_text_part_is_where_ids_go() -> None:
    assert heads.text_part(default("llama4")).model_type == "llama4_text"
    assert heads.text_part(default("llama")).model_type == "llama"
    assert heads.text_part(default("musicgen")).model_type == "t5"  # it has a decoder beside it


def test_types_without_a_base_class_are_known() -> None:
    from transformers import CONFIG_MAPPING

    more = {*heads.every()} - {*heads.types()}
    assert {"pix2struct", "trocr", "encoder-decoder"} <= more
    assert {*heads.types()} <= {*heads.every()} <= {*CONFIG_MAPPING}
    assert all(heads.named(name) for name in more)
