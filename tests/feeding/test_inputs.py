"""Inputs by rule: every modality of a model in one seeded batch, with labels for a loss."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from tinybuild.config import overrides
from tinybuild.config.shrink import shrink
from tinybuild.errors import BuildFault
from tinybuild.feeding import inputs
from tinybuild.feeding.inputs import beside, text, vision
from tinybuild.feeding.inputs.contents import contents, renewed
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts

TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SIGHT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "projection_dim": 16,
}
HEARING = {
    "hidden_size": 32,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 8,
    "max_source_positions": 20,
    "max_target_positions": 40,
    "vocab_size": 99,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}
WAVES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8],
    "conv_stride": [5, 4],
    "conv_kernel": [5, 4],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 20,
    "num_codevectors_per_group": 4,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "classifier_proj_size": 8,
}
T5 = {
    "vocab_size": 99,
    "d_model": 32,
    "d_ff": 32,
    "d_kv": 16,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
SERIES = {
    "prediction_length": 4,
    "context_length": 8,
    "lags_sequence": [1, 2],
    "num_time_features": 1,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}
LLAVA = {
    "text_config": {"model_type": "llama", **TEXT},
    "vision_config": {"model_type": "clip_vision_model", **SIGHT},
    "image_token_index": 90,
    "vision_feature_layer": -1,
}
QWEN = {
    "text_config": {
        **TEXT,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
    },
    "vision_config": {
        "depth": 1,
        "embed_dim": 32,
        "hidden_size": 32,
        "num_heads": 2,
        "mlp_ratio": 1,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    "image_token_id": 90,
    "video_token_id": 91,
    "vision_start_token_id": 92,
    "vision_end_token_id": 93,
}
TILED = {
    "text_config": {"model_type": "llama", **TEXT},
    "vision_config": SIGHT,
    "image_token_id": 90,
    "scale_factor": 2,
    "pad_token_id": 0,
}
SPEAKING = {
    "text_config": {"model_type": "qwen2", **TEXT},
    "audio_config": {"model_type": "qwen2_audio_encoder", **HEARING},
    "audio_token_index": 90,
}
TOWERS = {
    "text_config": {**TEXT, "projection_dim": 16},
    "vision_config": SIGHT,
    "projection_dim": 16,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
BERT = {**TEXT, "type_vocab_size": 2}
DETR = {
    "use_timm_backbone": False,
    "backbone": None,
    "use_pretrained_backbone": False,
    "backbone_config": {"model_type": "resnet", **RESNET, "out_features": ["stage2"]},
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 5,
}
SEGMENTED = {
    "num_encoder_blocks": 2,
    "depths": [1, 1],
    "sr_ratios": [2, 1],
    "hidden_sizes": [8, 16],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [1, 1],
    "decoder_hidden_size": 16,
}
CODEC = {"num_filters": 4, "hidden_size": 16, "codebook_size": 8, "upsampling_ratios": [4, 2]}
CODEC = {**CODEC, "num_lstm_layers": 1, "codebook_dim": 16}

# class -> its config's keys, the modalities of its batch, whether there is a loss.
CASES: Mapping[str, tuple[dict[str, Any], str, bool]] = {
    "LlamaForCausalLM": (TEXT, "text", True),
    "BertModel": (BERT, "text", False),
    "BertForPreTraining": (BERT, "text", True),
    "BertForMultipleChoice": (BERT, "text", True),
    "BertForQuestionAnswering": (BERT, "text", True),
    "BertForNextSentencePrediction": (BERT, "text", True),
    "BertForTokenClassification": (BERT, "text", True),
    "LlamaForSequenceClassification": (TEXT, "text", True),
    "T5ForConditionalGeneration": (T5, "text", True),
    "LayoutLMForMaskedLM": (BERT, "layout text", True),
    "ViTForImageClassification": (SIGHT, "image", True),
    "CLIPModel": (TOWERS, "image text", True),
    "LlavaForConditionalGeneration": (LLAVA, "image text", True),
    "Qwen2VLForConditionalGeneration": (QWEN, "image text video", True),
    "Idefics3ForConditionalGeneration": (TILED, "image text", True),
    "WhisperForConditionalGeneration": (HEARING, "audio text", True),
    "Qwen2AudioForConditionalGeneration": (SPEAKING, "audio text", True),
    "Wav2Vec2ForCTC": (WAVES, "audio", True),
    "Wav2Vec2ForSequenceClassification": (WAVES, "audio", True),
    "EncodecModel": (CODEC, "audio", False),
    "TimeSeriesTransformerForPrediction": (SERIES, "series", True),
    "DetrForObjectDetection": (DETR, "image", True),
    "SegformerForSemanticSegmentation": (SEGMENTED, "image", True),
    "ResNetModel": (RESNET, "image", False),
}


SILENT = ("EncodecModel",)  # its codebook is all zeros until it is trained


def made(name: str, **changes: Any) -> Any:
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    return kind(kind.config_class(**{**CASES[name][0], **changes})).eval()


@pytest.mark.parametrize("name", CASES)
def test_a_batch_holds_every_modality_and_gives_a_loss(name: str) -> None:
    model = made(name)
    _, kinds, loss = CASES[name]
    batch = inputs.batch(model, 1)
    assert " ".join(inputs.modalities(model)) == " ".join(inputs.covered(model, batch)) == kinds
    with torch.no_grad():
        outputs = inputs.tensors(model(**batch))
    assert outputs
    assert all(bool(tensor.isfinite().all()) for tensor in outputs.values())
    assert ("loss" in outputs) == loss


def test_codes_are_below_the_size_of_their_codebook() -> None:
    from transformers import KyutaiSpeechToTextConfig

    source = KyutaiSpeechToTextConfig()
    config = overrides.override(source, {}, shrink(source, {}).overrides, ())
    assert config.codebook_vocab_size < config.vocab_size
    model = transformers.KyutaiSpeechToTextForConditionalGeneration(config).eval()
    ids = inputs.batch(model, 1)["input_ids"]
    assert ids.shape[-1] == config.num_codebooks + 1
    assert int(ids[..., 1:].max()) < config.codebook_vocab_size


def test_a_sound_stands_in_the_text_where_codes_have_a_vocabulary_of_their_own() -> None:
    """CSM reads sounds beside a text alone; there are other frames in all than codes of one."""
    from transformers import CsmConfig

    source = CsmConfig()
    config = overrides.override(source, {}, shrink(source, {}).overrides, ())
    model = transformers.CsmForConditionalGeneration(config)
    batch = inputs.batch(model, 1)
    ids = batch["input_ids"]
    assert ids.dim() == 2
    assert 0 < int((ids == config.audio_token_id).sum()) != config.num_codebooks
    assert model.train()(**batch).loss.isfinite()


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_batch_and_leaves_everything_as_it_was(name: str) -> None:
    model = made(name).train()
    state = torch.random.get_rng_state()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    first, again, other = (inputs.batch(model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert same(first, again)
    assert not same(first, other)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("name", CASES)
def test_each_modality_alone_can_be_varied(name: str) -> None:
    model = made(name)
    batch = inputs.batch(model, 1)
    for kind in inputs.modalities(model):
        changed = inputs.varied(model, batch, kind, 7)
        different = {key for key in batch if not same(batch[key], changed[key])}
        assert different
        assert inputs.covered(model, dict.fromkeys(different, 0)) == (kind,)
        assert all(batch[key].shape == changed[key].shape for key in different)
        with torch.no_grad():
            before, after = (inputs.tensors(model(**given)) for given in (batch, changed))
        if name not in SILENT:
            assert any(not torch.equal(before[key], after[key]) for key in before)
    with pytest.raises(ValueError, match="no smell"):
        inputs.varied(model, batch, "smell", 7)


@pytest.mark.parametrize(
    "name", ["LlamaForCausalLM", "LlavaForConditionalGeneration", "WhisperForConditionalGeneration"]
)
def test_a_model_in_bfloat16_takes_its_batch(name: str) -> None:
    model = made(name).to(torch.bfloat16)
    batch = inputs.batch(model, 1)
    floating = [value for value in batch.values() if value.is_floating_point()]
    assert all(value.dtype == torch.bfloat16 for value in floating)
    with torch.no_grad():
        assert model(**batch).loss.isfinite()


def test_contents_are_what_says_something_and_others_are_near() -> None:
    ids = torch.tensor([[5, 0, 9, 7], [8, 6, 0, 5]])
    places = torch.arange(24).reshape(2, 3, 4)
    batch: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": ids,
        "pixel_values": torch.full((2, 3, 4, 4), 100.0),
        "codes": places,
        "use_cache": True,
    }
    assert contents(batch) == ["input_ids", "pixel_values", "codes"]
    drawn = torch.Generator().manual_seed(1)
    other = {name: renewed(name, batch[name], {0}, drawn) for name in contents(batch)}
    assert not torch.equal(other["input_ids"], ids)
    assert torch.equal(other["input_ids"] == 0, ids == 0)
    assert int(other["input_ids"].max()) <= 9
    assert torch.equal(other["codes"], places.roll(1, dims=1))
    pixels = other["pixel_values"]
    assert not torch.equal(pixels, batch["pixel_values"])
    assert 90 < float(pixels.min()) <= float(pixels.max()) < 110


def test_a_flattened_patch_stays_where_it_is() -> None:
    """Pix2Struct's begin with their row and column; what follows are numbers as of any image."""
    from transformers import Pix2StructConfig, Pix2StructForConditionalGeneration

    sizes = {"hidden_size": 32, "d_ff": 32, "d_kv": 8}
    read = {**sizes, "num_heads": 4, "num_layers": 1, "vocab_size": 50, "encoder_hidden_size": 32}
    seen = {**sizes, "num_attention_heads": 4, "num_hidden_layers": 1, "seq_len": 64}
    seen |= {"patch_embed_hidden_size": 192}
    model = Pix2StructForConditionalGeneration(
        Pix2StructConfig(text_config=read, vision_config=seen, decoder_start_token_id=0)
    ).eval()
    batch = inputs.batch(model, 1)
    patches = batch["flattened_patches"]
    assert bool((patches[..., 2:] < 0).any())
    other = inputs.varied(model, batch, "image", 7)["flattened_patches"]
    near = renewed("flattened_patches", patches, (), torch.Generator().manual_seed(1))
    for changed in (other, near):
        assert torch.equal(changed[..., :2], patches[..., :2])
        assert not torch.isclose(changed[..., 2:], patches[..., 2:]).all()


# --- text ---


def test_tokens_are_plain_and_end_with_eos() -> None:
    batch = inputs.batch(made("LlamaForCausalLM"), 3)
    assert batch["input_ids"].shape == (ROWS, text.LENGTH)
    assert not set(batch["input_ids"][:, :-1].flatten().tolist()) & {0, 1, 2}
    assert batch["input_ids"][:, -1].tolist() == [2] * ROWS
    assert torch.equal(batch["labels"], batch["input_ids"])


def test_a_first_eos_of_several_ends_the_text() -> None:
    batch = inputs.batch(made("LlamaForCausalLM", eos_token_id=[5, 6]), 3)
    assert batch["input_ids"][:, -1].tolist() == [5] * ROWS
    assert not set(batch["input_ids"][:, :-1].flatten().tolist()) & {0, 1, 5, 6}


def test_a_vocabulary_of_special_tokens_only_is_used_as_it_is() -> None:
    batch = inputs.batch(made("LlamaForCausalLM", vocab_size=3), 3)
    assert int(batch["input_ids"].max()) < 3


def test_ids_of_a_part_are_of_its_own_vocabulary() -> None:
    with torch.device("meta"):
        model = transformers.EvollaForProteinText2Text(
            transformers.EvollaConfig(
                **{**TEXT, "vocab_size": 90},
                protein_encoder_config={"vocab_size": 30},
            )
        )
    assert text.vocabulary(Facts(model), "protein_input_ids") == 30
    assert text.vocabulary(Facts(model), "input_ids") == 90


def test_a_choice_has_an_axis_of_its_own() -> None:
    batch = inputs.batch(made("BertForMultipleChoice"), 3)
    assert batch["input_ids"].shape == (ROWS, 2, text.LENGTH)
    assert not torch.equal(batch["input_ids"][:, 0], batch["input_ids"][:, 1])
    assert batch["labels"].shape == (ROWS,)


# --- placeholders ---


@pytest.mark.parametrize(
    ("name", "kind", "token", "each"),
    [
        ("LlavaForConditionalGeneration", "image", 90, 8),  # two images of 16 / 8, squared
        ("Qwen2VLForConditionalGeneration", "image", 90, 6),  # 4 x 6 patches, merged by 2 x 2
        ("Qwen2VLForConditionalGeneration", "video", 91, 6),
        ("Idefics3ForConditionalGeneration", "image", 90, 2),  # tiles of 2 x 2 patches, as one each
        ("Qwen2AudioForConditionalGeneration", "audio", 90, 10),  # 40 frames, halved twice
    ],
)
def test_there_is_a_placeholder_for_each_feature_that_the_model_makes(
    name: str, kind: str, token: int, each: int
) -> None:
    model = made(name)
    batch = inputs.batch(model, 1)
    assert (batch["input_ids"] == token).sum(1).tolist() == [each] * ROWS
    assert text.placeholder(Facts(model), kind) == token
    assert token not in batch["labels"]  # no loss at the places of an image


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("LlavaForConditionalGeneration", 90),
        ("Qwen2VLForConditionalGeneration", 90),
        ("Qwen2VLForConditionalGeneration", 91),
        ("Idefics3ForConditionalGeneration", 90),
    ],
)
def test_without_one_placeholder_the_model_refuses_the_batch(name: str, token: int) -> None:
    model = made(name)
    batch = inputs.batch(model, 1)
    place = (batch["input_ids"] == token).nonzero()[0]
    for row, column in [place] if token else []:
        batch["input_ids"][row, column] = 7
    with pytest.raises(Exception, match=r"(?i)match|mismatch|tokens|shape|size"), torch.no_grad():
        model(**batch)


def test_the_kind_of_each_token_is_told() -> None:
    batch = inputs.batch(made("Qwen2VLForConditionalGeneration"), 1)
    ids, kinds = batch["input_ids"], batch["mm_token_type_ids"]
    assert torch.equal(kinds == 1, ids == 90)
    assert torch.equal(kinds == 2, ids == 91)
    assert ids[0, 2].item() == 92  # a vision_start before the image, an end after it
    assert ids[0, 9].item() == 93


# --- what cannot be ---


class Odd(transformers.PreTrainedModel):
    config_class = transformers.BertConfig

    def __init__(self, config: Any):
        super().__init__(config)
        self.inner = torch.nn.Linear(3, 3)

    def forward(self, input_ids: Any, something: Any = None) -> Any:
        self.inner(torch.zeros(3))
        raise RuntimeError("nothing suits me\nat all")


def test_the_message_says_what_forward_takes_and_the_last_error() -> None:
    with pytest.raises(BuildFault) as caught:
        inputs.batch(Odd(transformers.BertConfig(**BERT)), 1)
    assert "no rule makes inputs for Odd; the best of" in str(caught.value)
    assert "RuntimeError: nothing suits me\n" in str(caught.value)
    assert "hint: its forward takes input_ids, something" in str(caught.value)


def test_a_modality_without_its_part_of_the_model_is_not_taken() -> None:
    class Deaf(Odd):
        def forward(self, input_ids: Any, input_features: Any = None) -> Any:
            return {"out": self.inner(torch.ones(3)) * input_ids.sum()}

    model = Deaf(transformers.BertConfig(**BERT))
    model.config.audio_config = None
    assert inputs.modalities(model) == ("text",)
    assert "input_features" not in inputs.batch(model, 1)


def test_a_repeated_draw_of_one_argument_does_not_depend_on_the_others() -> None:
    first, second = Draw(1, torch.float32), Draw(1, torch.float32)
    second.normal("other", 3)
    assert torch.equal(first.normal("x", 3), second.normal("x", 3))
    assert not torch.equal(first.normal("x", 3), first.normal("y", 3))


# --- images ---


def test_sizes_of_the_config_are_tried_first_and_wider_ones_before_squares() -> None:
    assert vision.sizes(Facts(made("ViTForImageClassification")))[:2] == [(16, 32), (16, 16)]
    model = made("ViTForImageClassification", image_size=[16, 24])
    assert vision.sizes(Facts(model))[0] == (16, 24)


@pytest.mark.parametrize("name", ["ResNetModel", "SegformerForSemanticSegmentation"])
def test_an_image_is_not_square_where_the_class_takes_others(name: str) -> None:
    high, wide = inputs.batch(made(name), 1)["pixel_values"].shape[-2:]
    assert high != wide


def test_a_class_that_insists_on_squares_gets_one() -> None:
    assert inputs.batch(made("ViTForImageClassification"), 1)["pixel_values"].shape[-2:] == (16, 16)


def test_grids_of_images_and_videos_are_not_square() -> None:
    batch = inputs.batch(made("Qwen2VLForConditionalGeneration"), 1)
    for name in ("image_grid_thw", "video_grid_thw"):
        assert all(high != wide for _, high, wide in batch[name].tolist())


def test_swapped_height_and_width_are_seen() -> None:
    """What a square would hide: a model that reads the grid the other way round."""
    model = made("Qwen2VLForConditionalGeneration")
    batch = inputs.batch(model, 1)
    swapped = {**batch, "image_grid_thw": batch["image_grid_thw"][:, [0, 2, 1]]}
    with torch.no_grad():
        assert not torch.allclose(model(**batch).logits, model(**swapped).logits)


def test_several_tiles_or_images_a_row() -> None:
    assert inputs.batch(made("LlavaForConditionalGeneration"), 1)["pixel_values"].shape[0] == 4
    tiles = inputs.batch(made("Idefics3ForConditionalGeneration"), 1)["pixel_values"]
    assert tiles.shape[:3] == (ROWS, 2, 3)
    assert inputs.batch(made("CLIPModel"), 1)["pixel_values"].shape[0] == ROWS  # without places


def test_labels_that_leave_nothing_to_learn_are_the_last_resort() -> None:
    class Sure(transformers.BertPreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.scale = torch.nn.Linear(1, 1)

        def forward(self, input_ids: Any, labels: Any = None) -> Any:
            logits = torch.zeros(len(input_ids), 2)
            found = {"logits": logits}
            if labels is not None:
                found["loss"] = (labels.float().sum() > 1).float()
            return found

    given = inputs.batch(Sure(transformers.BertConfig(**BERT)), 1)
    assert given["labels"].sum() > 1


def test_a_model_that_says_a_placeholder_is_asked_again_without() -> None:
    from tinybuild.feeding.inputs.continued import _ways

    model = made("LlavaForConditionalGeneration")
    ways = list(_ways(model, inputs.batch(model, 1)))
    assert ways[1] == {**ways[0], "suppress_tokens": [model.config.image_token_id]}


def test_what_an_encoder_reads_is_continued_too() -> None:
    """A transcriber has no prompt but its sound: two sounds, two texts."""
    model = made("WhisperForConditionalGeneration")
    went = inputs.continued(model, [inputs.batch(model, 1)], 1)
    assert went.error is None
    ((new, logits),) = went.parts
    assert new.shape == (2, inputs.NEW_TOKENS)
    assert logits.shape[:2] == (inputs.NEW_TOKENS, 2)
    assert (went.asked[0].keys() & {"input_ids", "decoder_input_ids", "labels"}) == set()


def test_a_text_that_fills_all_places_is_continued_without_its_end() -> None:
    """Reformer learns from texts as long as its axial positions, and has no place behind them."""
    source = transformers.ReformerConfig(is_decoder=True)
    config = overrides.override(source, {}, shrink(source, {}).overrides, ())
    model = transformers.ReformerModelWithLMHead(config).eval()
    batch = inputs.batch(model, 1)
    assert batch["input_ids"].shape[-1] == model.config.max_position_embeddings
    went = inputs.continued(model, [batch], 1)
    assert went.error is None
    assert went.asked[0]["input_ids"].shape[-1] < batch["input_ids"].shape[-1]
    assert went.parts[0][0].shape == (ROWS, 8)


def test_tiles_of_which_a_mask_says_what_is_seen_come_first() -> None:
    """Phi-4 computes nothing of an image without the mask of its patches."""

    def forward(image_pixel_values: object, image_sizes: object, image_attention_mask: object):
        raise NotImplementedError

    facts = Facts(SimpleNamespace(config=SimpleNamespace(image_size=32, patch_size=8)))  # type: ignore[arg-type]
    facts.__dict__["takes"] = inspect.signature(forward).parameters
    facts.__dict__["nodes"] = [((), facts.config)]
    facts.__dict__["model"].modules = lambda: ()
    facts.__dict__["model"].named_modules = lambda: ()
    first = next(vision.images(facts, Draw(0, torch.float32), "image_pixel_values"))
    assert {*first} == {*facts.takes}
    assert first["image_attention_mask"].shape[1] == first["image_pixel_values"].shape[1] == 3


def test_ids_of_a_smaller_book_stay_in_it() -> None:
    """Kyutai's text stands beside codes of sounds, of which there are fewer."""
    drawn = torch.Generator().manual_seed(0)
    old = torch.tensor([[[90, 3], [50, 2], [70, 1]], [[11, 0], [99, 3], [12, 2]]])
    new = renewed("input_ids", old, {0}, drawn)
    assert not new[..., 0].equal(old[..., 0])
    assert int(new[..., 1].max()) <= 3


def test_tokens_alone_are_asked_for() -> None:
    """Seamless speaks by default, and wants to know in which language."""
    from tinybuild.feeding.inputs.continued import _ways

    class Model(torch.nn.Module):
        config = SimpleNamespace(is_encoder_decoder=True)

        def forward(self, input_ids: torch.Tensor) -> None: ...

        def generate(
            self, input_ids: torch.Tensor, generate_speech: bool = True, generate_kwargs: Any = None
        ) -> None: ...

    ids = torch.ones((2, 4), dtype=torch.long)
    for way in _ways(Model(), {"input_ids": ids}):  # type: ignore[arg-type]
        assert way["generate_speech"] is False
        assert "generate_kwargs" not in way


def test_codes_that_the_asker_begins_are_continued() -> None:
    """Dia's decoder has an id of each book at a step, and does not begin by itself."""
    from tinybuild.feeding.inputs.continued import _part, _ways

    class Model(torch.nn.Module):
        config = SimpleNamespace(is_encoder_decoder=True)

        def forward(self, input_ids: torch.Tensor, decoder_input_ids: torch.Tensor) -> None: ...

        def generate(self, input_ids: torch.Tensor) -> None: ...

    ids = torch.ones((2, 4), dtype=torch.long)
    begun = torch.ones((2, 5, 3), dtype=torch.long)
    plain = [*_ways(Model(), {"input_ids": ids, "decoder_input_ids": ids})]  # type: ignore[arg-type]
    assert all("decoder_input_ids" not in way for way in plain)
    ways = [*_ways(Model(), {"input_ids": ids, "decoder_input_ids": begun})]  # type: ignore[arg-type]
    asked = next(way for way in ways if "decoder_input_ids" in way)

    class Made(dict[str, Any]):
        logits = (torch.zeros((6, 9)),) * 2
        sequences = torch.arange(2 * 7 * 3).view(2, 7, 3)

    found = _part(Made(), asked)
    assert found is not None
    assert found[0].tolist() == [[*range(15, 21)], [*range(36, 42)]]


def test_a_mask_that_forward_hands_on_without_naming_it() -> None:
    """VibeVoice's, of which `generate` makes none."""

    class Text(torch.nn.Module):
        def forward(self, attention_mask: Any = None) -> None: ...

    class HandsOn(torch.nn.Module):
        def __init__(self, part: torch.nn.Module) -> None:
            super().__init__()
            self.part = part

        def forward(self, input_ids: Any, **kwargs: Any) -> None: ...

    class Names(HandsOn):
        def forward(self, input_ids: Any, attention_mask: Any = None, **kwargs: Any) -> None: ...

    class Sees(HandsOn):
        def forward(self, pixel_values: Any, **kwargs: Any) -> None: ...

    def inside(model: Any) -> bool:
        return beside.masked_inside(Facts(model))

    assert inside(HandsOn(Text()))
    others = (HandsOn(torch.nn.Linear(1, 1)), Names(Text()), Sees(Text()), Text())
    assert not any(map(inside, others))


@pytest.mark.parametrize(("count", "length", "frames"), [(1, 2, 16), (4, 6, 12), (4, 4, 8)])
def test_a_sound_is_as_much_longer_as_its_text(count: int, length: int, frames: int) -> None:
    sound = torch.arange(8)[None]
    made = beside.longer({"input_features": sound, "input_ids": sound}, count, length)
    assert [*made] == ["input_features"]
    assert made["input_features"].tolist() == [[number % 8 for number in range(frames)]]
