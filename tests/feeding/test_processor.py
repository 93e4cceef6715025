"""Processors fit the tiny model: sizes by rule, counts by measure, tokens by name, and a check."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit import bundles
from kit.faults import refused
from kit.files import contents, edit
from kit.stage import MakeJob

from tinybuild import bundle, model, source, wire
from tinybuild.config import heads
from tinybuild.feeding import processor
from tinybuild.feeding.processor import abroad, features
from tinybuild.feeding.processor.geometry import Geometry, find, pair
from tinybuild.feeding.processor.rules import SETTINGS, Setting, shrink
from tinybuild.source import blank
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.validate import processor as checks
from tinybuild.validate import samples
from tinybuild.validate.check import Result
from tinybuild.validate.subject import Subject

# --- rules ----------------------------------------------------------------------------------------

VIT = {"image_size": 224, "patch_size": 16, "num_channels": 3}
TINY = {"image_size": 32, "patch_size": 8, "num_channels": 3}
SQUARE = {"height": 32, "width": 32}


@pytest.mark.parametrize(
    ("data", "before", "after", "wanted"),
    [
        pytest.param(
            {"size": {"height": 224, "width": 224}}, VIT, TINY, {"size": SQUARE}, id="one size"
        ),
        pytest.param(
            {"size": 224, "crop_size": 224, "do_center_crop": True},
            VIT,
            TINY,
            {"size": 32, "crop_size": 32},
            id="numbers, as old files have them",
        ),
        pytest.param(
            {
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
            },
            {"vision_config": VIT},
            {"vision_config": TINY},
            {"size": {"shortest_edge": 40}, "crop_size": SQUARE},
            id="crop is the image, and the size keeps its ratio to it",
        ),
        pytest.param(
            {"crop_size": {"height": 289, "width": 289}, "do_center_crop": False, "size": 346},
            {},
            {},
            {"size": 64},
            id="no crop, and no size in the config",
        ),
        pytest.param(
            {"size": {"shortest_edge": 800, "longest_edge": 1333}},
            {},
            {},
            {"size": {"shortest_edge": 64, "longest_edge": 96}},
            id="edges: a multiple of the stride",
        ),
        pytest.param(
            {
                "size": {"shortest_edge": 3136, "longest_edge": 1003520},
                "patch_size": 14,
                "merge_size": 2,
                "temporal_patch_size": 2,
            },
            {"vision_config": {"patch_size": 14, "spatial_merge_size": 2}},
            {"vision_config": {"patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 1}},
            {
                "size": {"shortest_edge": 1024, "longest_edge": 4096},
                "patch_size": 8,
                "merge_size": 2,
                "temporal_patch_size": 1,
            },
            id="areas: 4 to 16 tokens",
        ),
        pytest.param(
            {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "merge_size": 2},
            {"vision_config": {"patch_size": 14, "spatial_merge_size": 2}},
            {"vision_config": {"patch_size": 4, "spatial_merge_size": 2}},
            {"min_pixels": 256, "max_pixels": 1024},
            id="areas as old files have them",
        ),
        pytest.param(
            {"max_image_size": {"longest_edge": 364}, "size": {"longest_edge": 1456}},
            {"vision_config": {"image_size": 364, "patch_size": 14}},
            {"vision_config": TINY},
            {"max_image_size": {"longest_edge": 32}, "size": {"longest_edge": 128}},
            id="tiles",
        ),
        pytest.param(
            {"patch_size": {"height": 16, "width": 16}, "max_patches": 2048},
            {"vision_config": {"patch_size": 16}},
            {"vision_config": {"patch_size": 4}},
            {"patch_size": {"height": 4, "width": 4}, "max_patches": 64},
            id="a mapping stays one",
        ),
        pytest.param(
            {"max_soft_tokens": 280, "patch_size": 16},
            {"vision_config": {"patch_size": 16}},
            {"vision_config": {"patch_size": 4}},
            {"max_soft_tokens": 70, "patch_size": 4},
            id="as large as its tokens allow",
        ),
        pytest.param(
            {
                "size": {"height": 384, "width": 384},
                "high_res_size": {"height": 1024, "width": 1024},
                "high_res_image_mean": [0.5],
            },
            {"vision_config": VIT, "high_res_vision_config": {"image_size": 1024}},
            {"vision_config": TINY, "high_res_vision_config": {"image_size": 64}},
            {"size": SQUARE, "high_res_size": {"height": 64, "width": 64}},
            id="two sets of images",
        ),
        pytest.param(
            {"size": {"height": 256, "width": 192}},
            {"backbone_config": {"image_size": [256, 192], "patch_size": [16, 16]}},
            {"backbone_config": {"image_size": [64, 48], "patch_size": [8, 8]}},
            {"size": {"height": 64, "width": 48}},
            id="not a square",
        ),
        pytest.param(
            {"image_grid_pinpoints": [[336, 672], [672, 336]], "size": {"shortest_edge": 336}},
            {
                "image_grid_pinpoints": [[336, 672], [672, 336]],
                "vision_config": {"image_size": 336},
            },
            {"image_grid_pinpoints": [[32, 64], [64, 32]], "vision_config": TINY},
            {"image_grid_pinpoints": [[32, 64], [64, 32]], "size": {"shortest_edge": 32}},
            id="pinpoints",
        ),
        pytest.param(
            {
                "feature_extractor_type": "WhisperFeatureExtractor",
                "feature_size": 80,
                "chunk_length": 30,
                "hop_length": 160,
                "n_samples": 480000,
                "nb_max_frames": 3000,
                "sampling_rate": 16000,
            },
            {"num_mel_bins": 80, "max_source_positions": 1500},
            {"num_mel_bins": 16, "max_source_positions": 40},
            {
                "feature_size": 16,
                "chunk_length": 1,
                "hop_length": 200,
                "n_samples": 16000,
                "nb_max_frames": 80,
                "sampling_rate": 16000,
            },
            id="a window of fixed length",
        ),
        pytest.param(
            {
                "feature_extractor_type": "SeamlessM4TFeatureExtractor",
                "feature_size": 80,
                "num_mel_bins": 80,
                "stride": 2,
            },
            {"feature_projection_input_dim": 160},
            {"feature_projection_input_dim": 32},
            {"feature_size": 16, "num_mel_bins": 16, "stride": 2},
            id="frames side by side",
        ),
        pytest.param(
            {
                "feature_extractor_type": "GraniteSpeechFeatureExtractor",
                "feature_size": 80,
                "melspec_kwargs": {"n_fft": 512, "n_mels": 80},
            },
            {"encoder_config": {"input_dim": 160}},
            {"encoder_config": {"input_dim": 48}},
            {"feature_size": 24, "melspec_kwargs": {"n_fft": 512, "n_mels": 24}},
            id="frames side by side, of a spectrogram with settings of its own",
        ),
        pytest.param(
            {"feature_extractor_type": "InklingFeatureExtractor", "feature_size": 80},
            {"audio_config": {"n_mel_bins": 80}},
            {"audio_config": {"n_mel_bins": 40}},
            {"feature_size": 40},
            id="mel bins by another name",
        ),
        pytest.param(
            {"feature_extractor_type": "DacFeatureExtractor", "feature_size": 1, "hop_length": 512},
            {"downsampling_ratios": [2, 4, 8, 8]},
            {"downsampling_ratios": [2, 4]},
            {"feature_size": 1, "hop_length": 8},
            id="a codec",
        ),
        pytest.param(
            {
                "feature_extractor_type": "ASTFeatureExtractor",
                "max_length": 1024,
                "num_mel_bins": 128,
            },
            {"max_length": 1024, "num_mel_bins": 128},
            {"max_length": 64, "num_mel_bins": 16},
            {"max_length": 64, "num_mel_bins": 16},
            id="the same name and value",
        ),
        pytest.param(
            {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 128},
            {"audio_config": None},
            {"audio_config": {"subsampling_conv_channels": [64, 16]}},
            {"feature_size": 64},
            id="as many bins as channels",
        ),
        pytest.param(
            {
                "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
                "feature_size": 640,
                "audio_samples_per_token": 640,
            },
            {"audio_config": {"audio_embed_dim": 640}},
            {"audio_config": {"audio_embed_dim": 64}},
            {"feature_size": 64, "audio_samples_per_token": 64},
            id="a sound without a spectrogram",
        ),
        pytest.param(
            {"size": {"height": 448, "width": 448}},
            {"image_size": [896, 448], "patch_size": 16},
            {"image_size": [128, 64], "patch_size": 16},
            {"size": {"height": 64, "width": 64}},
            id="two images, one above the other",
        ),
        pytest.param(
            {"size": {"shortest_edge": 800, "longest_edge": 1333}},
            {"backbone_config": {"image_size": 256, "num_windows_side": 4, "patch_size": 16}},
            {"backbone_config": {"image_size": 64, "num_windows_side": 4, "patch_size": 8}},
            {"size": {"height": 64, "width": 64}},
            id="windows",
        ),
        pytest.param(
            {"patch_size": {"height": 16, "width": 16}, "max_patches": 4096},
            {"vision_config": {"patch_embed_hidden_size": 768}},
            {"vision_config": {"patch_embed_hidden_size": 192}},
            {"patch_size": {"height": 8, "width": 8}, "max_patches": 64},
            id="a patch laid flat",
        ),
        pytest.param(
            {"size": SQUARE, "patch_size": 14, "temporal_patch_size": 2},
            {"vision_config": {"patch_size": 14}},
            {"vision_config": TINY},
            {"temporal_patch_size": 1},
            id="patches of one frame",
        ),
        pytest.param(
            {"temporal_patch_size": 2},
            {"vision_config": {"patch_temporal": 2}},
            {"vision_config": {"patch_temporal": 2}},
            {"temporal_patch_size": 2},
            id="patches of two frames by another name",
        ),
        pytest.param(
            {
                "image_processor": {"temporal_patch_size": 1},
                "video_processor": {"temporal_patch_size": 2},
            },
            {"vision_config": {"temporal_merge_size": 2}},
            {"vision_config": {"temporal_merge_size": 2}},
            {
                "image_processor": {"temporal_patch_size": 1},
                "video_processor": {"temporal_patch_size": 2},
            },
            id="frames of a video that are put together behind the tower",
        ),
        pytest.param(
            {"overlap_margins": [4, 4], "size": {"height": 378, "width": 378}},
            {"vision_config": {"image_size": [378, 378], "patch_size": 14}},
            {"vision_config": {"image_size": [48, 48], "patch_size": 8}},
            {"overlap_margins": [1, 1], "size": {"height": 48, "width": 48}},
            id="crops share no more of their patches than before",
        ),
        pytest.param(
            {"size": {"height": 40, "width": 40}},
            {"vision_config": {"patch_size": 20, "spatial_merge_size": 2}},
            {"vision_config": {"patch_size": 8, "spatial_merge_size": 2}},
            {"size": {"height": 16, "width": 16}},
            id="images are cut in patches, whatever their size",
        ),
        pytest.param(
            {"downsample_rate": None, "num_image_tokens": 2048},
            {"downsample_rate": "4/8", "latent_query_num": 2048},
            {"downsample_rate": "4/8", "latent_query_num": 8},
            {"downsample_rate": "4/8", "num_image_tokens": 8},
            id="what a config calls otherwise, or the processor leaves open",
        ),
        pytest.param(
            {
                "size": {"height": 224, "width": 224},
                "patch_size": 112,
                "vision_patch_size": 14,
                "downsampler_stride": 2,
                "max_image_size": 3024,
            },
            VIT,
            TINY,
            {
                "size": {"height": 32, "width": 32},
                "patch_size": 16,
                "vision_patch_size": 8,
                "downsampler_stride": 2,
            },
            id="a part of an image is called a patch, and patches are halved",
        ),
        pytest.param(
            {"input_size_patches": 14, "total_mask_patches": 75, "mask_group_max_patches": None},
            VIT,
            TINY,
            {"input_size_patches": 4, "total_mask_patches": 6, "mask_group_max_patches": None},
            id="as large a share of the patches is masked",
        ),
        pytest.param(
            {"video_processor_type": "X", "num_frames": 32, "size": SQUARE},
            VIT,
            TINY,
            {"num_frames": 8},
            id="no more frames than a short video has",
        ),
        pytest.param(
            {"do_resize": True, "resample": 3, "image_mean": [0.5, 0.5, 0.5], "fps": 2},
            VIT,
            TINY,
            {"do_resize": True, "resample": 3, "image_mean": [0.5, 0.5, 0.5], "fps": 2},
            id="nothing else",
        ),
    ],
)
def test_rules(
    data: dict[str, Any], before: dict[str, Any], after: dict[str, Any], wanted: dict[str, Any]
) -> None:
    given = json.loads(json.dumps(data))
    made = shrink(data, before, after)
    assert {name: made[name] for name in wanted} == wanted
    assert made.keys() == data.keys()
    assert data == given


def test_parts_inside_a_processor_are_shrunk_too_and_a_video_may_have_more_tokens() -> None:
    area = {"size": {"shortest_edge": 3136, "longest_edge": 1003520}, "patch_size": 14}
    data = {"image_processor": area, "video_processor": area, "processor_class": "X"}
    config = {"vision_config": {"patch_size": 4}}
    made = shrink(data, {"vision_config": {"patch_size": 14}}, config)
    assert made["image_processor"]["size"] == {"shortest_edge": 64, "longest_edge": 256}
    assert made["video_processor"]["size"] == {"shortest_edge": 64, "longest_edge": 1024}
    assert made["processor_class"] == "X"


def test_a_setting_of_processors_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that follows keys of the config, and one that has a rule of its own."""
    data = {"thumbnail_tokens": 256, "margin": 224, "image_processor": {"thumbnail_tokens": 256}}
    config = {"vision_config": {**TINY, "tokens_of_a_thumbnail": 4}}
    assert shrink(data, {"vision_config": VIT}, config) == data
    follows = Setting(keys=("tokens_of_a_thumbnail",))
    monkeypatch.setitem(SETTINGS, "thumbnail_tokens", follows)
    quarter = Setting(rule=lambda view, name, value: view.now.side[0] // 4)
    monkeypatch.setitem(SETTINGS, "margin", quarter)
    inner = {"thumbnail_tokens": 4}
    made = shrink(data, {"vision_config": VIT}, config)
    assert made == {"thumbnail_tokens": 4, "margin": 8, "image_processor": inner}


def test_code_of_an_upstream_is_not_named() -> None:
    assert shrink({"auto_map": {"AutoProcessor": "x--y.Z"}, "size": 1}, VIT, TINY) == {"size": 32}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (16, (16, 16)),
        ([16], (16, 16)),
        ([16, 24], (16, 24)),
        ([2, 16, 24], (16, 24)),
        ({"height": 16, "width": 24}, (16, 24)),
        (True, None),
        (None, None),
        ("16", None),
    ],
)
def test_sizes_as_configs_write_them(value: Any, wanted: Any) -> None:
    assert pair(value) == wanted


def test_a_vision_config_goes_before_the_top_and_the_rest() -> None:
    tree = {"a": {"size": 3}, "size": 2, "vision_config": {"size": 1}}
    assert find(tree, ("size",), "image") == 1
    assert find({"a": {"size": 3}, "size": 2}, ("size",), "image") == 2
    assert find({"a": {"size": 3}}, ("size",), "image") == 3
    assert find(tree, ("size",), "image", "a") == 3
    assert find(tree, ("length",), "image") is None


def test_a_config_without_a_size_gets_the_least_that_its_patches_allow() -> None:
    assert Geometry.of({"vision_config": {"patch_size": 7, "spatial_merge_size": 2}}).side == (
        42,
        42,
    )
    assert Geometry.of({}).side == (64, 64)
    # Of an image that is seen at three sizes the smallest is a patch (Depth Pro), whatever the
    # image of the towers is.
    views = {"patch_size": 48, "scaled_images_ratios": [0.25, 0.5, 1.0]}
    assert Geometry.of({**views, "patch_model_config": {"image_size": 48}}).side == (192, 192)


def test_a_sample_video_has_the_frames_that_the_config_says() -> None:
    assert features.frames({"vision_config": {"num_frames": 16}, "num_frames": 8}) == 16
    assert features.frames({"vision_config": {"num_frames": None}}) == features.FRAMES
    assert features.video(0, 16).shape[0] == features.film(16).total_num_frames == 16


@pytest.mark.parametrize(
    ("whole", "part", "side"),
    [
        ({}, True, (features.HIGH, features.WIDE)),
        ({}, None, (32, 32)),
        ({"videos_kwargs": {"do_resize": False}}, True, (32, 32)),
    ],
)
def test_a_sample_video_that_nothing_resizes_is_as_large_as_the_models(
    whole: dict[str, Any], part: bool | None, side: tuple[int, int]
) -> None:
    """Perception's part for videos leaves them as they are, MiniMax M3's processor tells its own
    to."""
    config: Any = SimpleNamespace(to_dict=lambda: TINY)
    loaded = SimpleNamespace(**whole, video_processor=SimpleNamespace(do_resize=part))
    made: Any = samples.video(config, loaded, 0)
    assert made["videos"][0].shape[1:3] == side
    assert (made["video_metadata"][0].height, made["video_metadata"][0].width) == side


def test_a_sample_video_of_a_processor_that_has_its_frames_in_code() -> None:
    """And takes it where others take images."""
    from transformers import InstructBlipVideoProcessor

    config: Any = SimpleNamespace(to_dict=lambda: TINY)
    loaded = object.__new__(InstructBlipVideoProcessor)
    vars(loaded).update(tokenizer=0, video_processor=SimpleNamespace(do_resize=True))
    made: Any = samples.video(config, loaded, 0)
    assert made["videos"][0].shape[0] == made["video_metadata"][0].total_num_frames == 4
    assert samples.places(loaded)["video"] == "images"


def test_the_shorter_side_of_an_image_without_a_size_is_not_below_the_least() -> None:
    """A model of stages halves both (UVDoc's)."""
    made = shrink({"size": {"height": 712, "width": 488}}, {}, {})
    assert made["size"] == {"height": 96, "width": 64}


# --- the blank processor of a type ----------------------------------------------------------------


def fetch(job: MakeJob, **wishes: str) -> Path:
    """The fetch stage of {slot: model type}."""
    wanted = {slot: {"transformers": kind} for slot, kind in wishes.items()}
    work = job({"wishes": wanted, "base": ".", "locks": {}})
    source.fetch(work)
    return work.out


FILMS = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="transformers maps video processors where torchvision is",
)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_a_type_has_its_default_processor_with_all_parts(job: MakeJob) -> None:
    made = read(fetch(job, source="clip") / "source" / "processor_config.json")
    assert made["processor_class"] == "CLIPProcessor"
    assert made["image_processor"]["image_processor_type"] == "CLIPImageProcessor"
    assert made["image_processor"]["crop_size"] == {"height": 224, "width": 224}


def test_a_model_of_features_gets_what_makes_them(job: MakeJob) -> None:
    """Of wav2vec 2.0 BERT transformers maps what gives waves; checkpoints have SeamlessM4T's."""
    for kind, name in (("wav2vec2-bert", "SeamlessM4T"), ("wav2vec2", "Wav2Vec2")):
        made = read(fetch(job, source=kind) / "source" / "processor_config.json")
        extractor = made["feature_extractor"]["feature_extractor_type"]
        assert extractor == f"{name}FeatureExtractor"
    assert fetch(job, source="granite_speech5_ctc").exists()  # whose own may want torchaudio


@FILMS
def test_a_part_is_without_what_its_class_says_to_disable() -> None:
    """Ernie 4.5's draws times on frames by a font, which no default brings."""
    made = blank.part("ernie4_5_vl_moe", "video_processor")
    assert made is not None
    assert made["draw_on_frames"] is False


def test_a_type_with_one_part_has_that(job: MakeJob) -> None:
    folder = fetch(job, source="vit") / "source"
    assert not (folder / "processor_config.json").exists()
    made = read(folder / "preprocessor_config.json")
    assert made["image_processor_type"] == "ViTImageProcessor"


def test_a_type_without_a_processor_has_none(job: MakeJob) -> None:
    assert set(contents(fetch(job, source="bart") / "source")) == {
        *("config.json", "tokenizer.json", "tokenizer_config.json")
    }


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("llava", {"image_token": "<image>"}),
        ("qwen2_vl", {"image_token": "<|image_pad|>", "vision_start_token": "<vision_start>"}),
        ("gemma3", {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"}),
        ("gemma3", {"image_placeholder_token": "<boi>"}),  # what a chat writes for an image
        ("aya_vision", {"image_token": "<|IMG_PATCH|>"}),
        ("ovis2", {"image_token": "<IMG_ATOM>"}),  # what stands for an image becomes these
        ("llama4", {"image_token": "<|patch|>"}),  # an image has one of its own as well
        ("idefics2", {"image_token": "<image>", "image_boundary_token": "<image_boundary>"}),
        ("molmo2", {"image_token": "<im_patch>"}),  # its grids are of two views
        ("neomme", {"row_token": "<row>"}),  # asked for where an image is written
        ("glm4v", {"video_start_token": "<|begin_of_video|>"}),  # the class asks for its id
    ],
)
def test_a_blank_tokenizer_knows_the_tokens_of_its_processor(
    job: MakeJob, kind: str, tokens: Mapping[str, str]
) -> None:
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(fetch(job, source=kind) / "source")
    assert {name: getattr(made, name) for name in tokens} == tokens
    assert len({made.convert_tokens_to_ids(token) for token in tokens.values()}) == len(tokens)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("kosmos-2", "Kosmos2Processor"),  # of its own module
        ("glmga", "Glm46VProcessor"),  # of the type with the same model class
        ("data2vec-audio", "Wav2Vec2Processor"),  # of the module of its feature extractor
        # Of its videos', not of its images'.
        pytest.param("cosmos3_omni", "Qwen3VLProcessor", marks=FILMS),
    ],
)
def test_a_type_that_no_table_has_gets_a_neighbours_processor(
    job: MakeJob, kind: str, name: str
) -> None:
    folder = fetch(job, source=kind) / "source"
    assert read(folder / "processor_config.json")["processor_class"] == name


@pytest.mark.parametrize(
    ("kind", "part", "wanted"),
    [
        ("glm4v_moe", "image_processor", "Glm4vImageProcessor"),
        pytest.param("glm4v_moe", "video_processor", "Glm4vVideoProcessor", marks=FILMS),
        ("modernvbert", "image_processor", "Idefics3ImageProcessor"),
        ("moonshine_streaming", "feature_extractor", "Wav2Vec2FeatureExtractor"),
        ("musicflamingo", "feature_extractor", "WhisperFeatureExtractor"),
        ("vision-text-dual-encoder", "image_processor", "ViTImageProcessor"),  # of a part
        ("markuplm", "feature_extractor", None),  # of pages, which no table has
        ("diffusion_gemma", "image_processor", None),  # the class wants sounds as well
        ("bert", "image_processor", None),
    ],
)
def test_a_part_that_a_type_is_not_mapped_to_is_that_of_its_processor_class(
    kind: str, part: str, wanted: str | None
) -> None:
    known = blank._mapped(kind, part)
    assert wanted in known if wanted is not None else known == []


@pytest.mark.parametrize("kind", ["voxtral", "voxtral_realtime"])
def test_a_processor_of_a_librarys_own_tokenizer_is_left_out(job: MakeJob, kind: str) -> None:
    """Voxtral's wants mistral-common's, which a blank tokenizer is not."""
    made = fetch(job, source=kind) / "source"
    assert not list(made.glob("*processor_config.json"))


def test_a_processor_whose_package_is_missing_leaves_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pixtral's wants torchvision; what stands in its place refuses to be asked."""

    class Absent(type):
        is_dummy = True

        def __getattr__(cls, name: str) -> None:
            raise ImportError(f"{name} requires the Torchvision library")

    absent = Absent("PixtralProcessor", (), {})
    monkeypatch.setattr(blank, "_class", lambda kind: absent)
    for kind in ("mistral3", "glm4v_moe", "vision-text-dual-encoder"):
        files = blank.processor(kind, None)
        assert "processor_config.json" not in files
    assert blank.processor("mistral3", None)["preprocessor_config.json"]


@pytest.mark.slow
def test_the_parts_of_every_type_can_be_asked_for() -> None:
    for kind in heads.every():
        assert isinstance(blank.processor(kind, None), dict)


def test_a_type_without_text_gets_no_neighbours_processor(job: MakeJob) -> None:
    folder = fetch(job, source="donut-swin") / "source"
    assert not (folder / "processor_config.json").exists()


def test_places_in_an_image_have_a_few_tokens_not_a_thousand(job: MakeJob) -> None:
    folder = fetch(job, source="kosmos-2") / "source"
    assert read(folder / "processor_config.json")["num_patch_index_tokens"] == blank.PLACES
    added = read(folder / "tokenizer.json")["added_tokens"]
    assert sum("patch_index" in token["content"] for token in added) == blank.PLACES


def test_another_familys_tokenizer_learns_them_too(job: MakeJob) -> None:
    from transformers import AutoTokenizer

    out = fetch(job, source="llava", tokenizer="gpt2")
    assert AutoTokenizer.from_pretrained(out / "tokenizer").image_token == "<image>"
    assert not (out / "tokenizer" / "processor_config.json").exists()


@pytest.mark.usefixtures("no_network")
def test_a_processor_that_loads_other_repositories_is_not_let() -> None:
    files = blank.processor("mgp-str", source.blank_tokenizer("gpt2"))
    assert files["processor_config.json"]["processor_class"] == "MgpstrProcessor"


# --- with the model -------------------------------------------------------------------------------

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TOWERS = {"text_config": TEXT, "vision_config": VISION}
PLAIN = {
    name: value for name, value in TEXT.items() if name not in ("num_key_value_heads", "head_dim")
}
SPEECH = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 16,
    "max_source_positions": 40,
    "max_target_positions": 40,
}
WAVES = {
    **PLAIN,
    "conv_dim": [8, 8],
    "conv_stride": [5, 4],
    "conv_kernel": [10, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
IDEFICS = {
    **PLAIN,
    "cross_layer_interval": 1,
    "vision_config": {
        "embed_dim": 16,
        "image_size": 28,
        "patch_size": 14,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
}
BLIP = {
    "vision_config": VISION,
    "qformer_config": {**PLAIN, "encoder_hidden_size": 16},
    "text_config": {
        "hidden_size": 16,
        "ffn_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    },
    "num_query_tokens": 4,
}

Build = Callable[..., Subject]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """built(type, class, config, tokenizer=True): a bundle made of the type's defaults, once."""
    kept: dict[str, tuple[Path, dict[str, Any]]] = {}

    def make(kind: str, name: str, config: Mapping[str, Any], words: bool = True) -> Subject:
        key = f"{kind}-{name}-{words}"
        if key not in kept:
            kept[key] = build(kind, name, config, words)
        packed, facts = kept[key]
        place = tmp_path_factory.mktemp("bundle")
        shutil.copytree(packed, place / "bundle")
        (place / "scratch").mkdir()
        return Subject(folder=place / "bundle", scratch=place / "scratch", facts=facts, seed=0)

    def build(
        kind: str, name: str, config: Mapping[str, Any], words: bool
    ) -> tuple[Path, dict[str, Any]]:
        root = tmp_path_factory.mktemp(kind)

        section = {"method": "train", "vocab_size": 1600 if kind == "paligemma" else 500}
        return bundles.laid(root, (kind, name, config), section if words else None)

    return make


def feeds(subject: Subject) -> Result:
    found = checks.processor_feeds_model.run(subject)
    assert found is not None
    return found


def agree(subject: Subject) -> Result:
    found = checks.processor_tokens.run(subject)
    assert found is not None
    return found


CLIP = ("clip", "CLIPModel", {"text_config": PLAIN, "vision_config": VISION})
LLAVA = ("llava", "LlavaForConditionalGeneration", TOWERS)
WHISPER = ("whisper", "WhisperForConditionalGeneration", SPEECH)
GEMMA = (
    "gemma3",
    "Gemma3ForConditionalGeneration",
    {**TOWERS, "mm_tokens_per_image": 4},
)


@pytest.mark.parametrize(
    ("kind", "name", "config", "measured"),
    [
        (*CLIP, "image"),
        (*LLAVA, "image: 16 placeholders, 16 features"),
        (*WHISPER, "audio"),
        (*GEMMA, "image: 4 placeholders, 4 features"),
        ("idefics", "IdeficsForVisionText2Text", IDEFICS, "image"),
        ("blip-2", "Blip2ForConditionalGeneration", BLIP, "image: 4 placeholders, 4 features"),
        (
            "paligemma",
            "PaliGemmaForConditionalGeneration",
            {**TOWERS, "projection_dim": 16},
            "image: 16 placeholders, 16 features",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.islower() else "",
)
def test_autoprocessor_feeds_the_model(
    built: Build, kind: str, name: str, config: Mapping[str, Any], measured: str
) -> None:
    subject = built(kind, name, config)
    found = feeds(subject)
    assert found.ok, found
    assert found.measured == measured
    assert agree(subject).ok, agree(subject)


@pytest.mark.parametrize(
    ("kind", "name", "config", "measured"),
    [
        ("vit", "ViTModel", VISION, "image"),
        (*CLIP, "image"),
        ("llava", "LlavaForConditionalGeneration", TOWERS, "image: 16 features"),
        ("wav2vec2", "Wav2Vec2Model", WAVES, "audio"),
    ],
)
def test_without_a_tokenizer_the_parts_feed_it(
    built: Build, kind: str, name: str, config: Mapping[str, Any], measured: str
) -> None:
    subject = built(kind, name, config, words=False)
    found = feeds(subject)
    assert (found.ok, found.measured) == (True, measured), found
    assert "by themselves" in found.note
    assert checks.processor_tokens.run(subject) is None


# --- mutants: each check has to see them ----------------------------------------------------------


def processor_file(subject: Subject) -> Path:
    return subject.folder / "processor_config.json"


def failed_feed(subject: Subject) -> str:
    """What the check measured, or the error that it would have measured."""
    try:
        found = feeds(subject)
    except (RuntimeError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    assert not found.ok, found
    return found.measured


def test_one_placeholder_too_many_is_seen(built: Build) -> None:
    subject = built(*GEMMA)
    edit(processor_file(subject), lambda data: data.update(image_seq_length=5))
    assert "tokens: 5, features: 4" in failed_feed(subject)


def test_a_count_that_the_model_does_not_refuse_is_seen(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = built(*LLAVA)
    monkeypatch.setattr(checks.features, "rows", lambda *args: 17)
    assert failed_feed(subject) == "image: 16 placeholders, 17 features"


@pytest.mark.parametrize(("shape", "count"), [((8, 4, 6), 24), ((1, 24, 8), 24), ((24, 8), 24)])
def test_features_of_an_image_may_be_a_map(shape: tuple[int, ...], count: int) -> None:
    """GLM-Image's; its processor also tells the grid of an image that is to be made."""
    import torch

    class Model:
        config = SimpleNamespace(to_dict=dict)

        def get_image_features(self, pixel_values: Any, image_grid_thw: Any) -> Any:
            return [torch.zeros(shape)]

    model: Any = Model()
    grids = torch.tensor([[1, 4, 6], [1, 36, 24]])
    given = {"pixel_values": torch.zeros(28, 3), "image_grid_thw": grids}
    assert features.rows(model, "image", given) == count


@pytest.mark.parametrize(("told", "count"), [({}, 10), ({"audio_soft_tokens_per_image": 7}, 14)])
def test_features_of_a_sound_are_filled_up_to_what_the_config_says(
    told: dict[str, Any], count: int
) -> None:
    """By Gemma 3n's forward, which wants as many places."""
    import torch

    class Model:
        config = SimpleNamespace(to_dict=lambda: told)

        def get_audio_features(self, input_features: Any) -> Any:
            return torch.zeros(len(input_features), 5, 3)

    model: Any = Model()
    assert features.rows(model, "audio", {"input_features": torch.zeros(2, 8)}) == count


@pytest.mark.parametrize(("told", "count"), [({}, 4), ({"document_token_id": 5}, 3)])
def test_a_placeholder_that_opens_a_page_holds_no_place(told: dict[str, int], count: int) -> None:
    """NeoMME writes one behind the token of a document, and then those of the patches."""
    import torch

    model: Any = SimpleNamespace(config=SimpleNamespace(**told))
    text = torch.tensor([[1, 5, 6, 6, 6, 7, 6, 2]])
    assert checks._places(model, text, 6) == count


def test_media_that_a_class_takes_one_at_a_time_go_in_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Molmo 2's; another refusal is a fault."""
    import torch

    def fed(_: object, __: object, ___: int, media: tuple[str, ...]) -> samples.Fed:
        return samples.Fed(inputs={name: torch.ones(1) for name in media}, media=media, ids={})

    def forward(**given: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(given) > 1:
            raise ValueError(refusal)
        return {"logits": torch.ones(1)}

    monkeypatch.setattr(checks.parts, "load", lambda *_, **__: (None, ""))
    monkeypatch.setattr(samples, "whole", fed)
    monkeypatch.setattr(samples, "measured", lambda *_: {})
    monkeypatch.setattr(samples, "complete", lambda _, inputs, __: inputs)
    subject: Any = SimpleNamespace(model=forward, batch={}, folder=Path(), seed=0)
    both = fed(None, None, 0, ("image", "video"))
    refusal = "pixel_values and pixel_values_videos are provided at the same time"
    assert {*checks._made(subject, both)} == {"image.logits", "video.logits"}
    refusal = "Image features and image tokens do not match"
    with pytest.raises(ValueError, match="do not match"):
        checks._made(subject, both)


def test_a_class_token_too_many_is_seen(built: Build) -> None:
    subject = built(*LLAVA)
    edit(processor_file(subject), lambda data: data.update(num_additional_image_tokens=2))
    assert "tokens: 17, features: " in failed_feed(subject)


@pytest.mark.parametrize("size", [24, 40, 224])
def test_an_image_size_that_is_not_the_models_is_seen(built: Build, size: int) -> None:
    def larger(data: dict[str, Any]) -> None:
        part = data["image_processor"]
        part["crop_size"] = {"height": size, "width": size}
        part["size"] = {"shortest_edge": size}

    subject = built(*CLIP)
    edit(processor_file(subject), larger)
    assert "Error" in failed_feed(subject)


def test_mel_bins_that_are_not_the_models_are_seen(built: Build) -> None:
    subject = built(*WHISPER)
    edit(processor_file(subject), lambda data: data["feature_extractor"].update(feature_size=80))
    assert "80" in failed_feed(subject)


def test_a_window_that_is_not_the_models_is_seen(built: Build) -> None:
    subject = built(*WHISPER)
    edit(processor_file(subject), lambda data: data["feature_extractor"].update(chunk_length=2))
    assert "160" in failed_feed(subject)


def test_outputs_that_are_no_numbers_are_seen(built: Build) -> None:
    import torch

    subject = built(*CLIP)
    with torch.no_grad():
        next(subject.model.vision_model.parameters()).fill_(float("nan"))
    assert "not a number" in failed_feed(subject)


def test_an_id_of_the_config_that_means_another_token_is_seen(built: Build) -> None:
    subject = built(*LLAVA)
    edit(subject.folder / "config.json", lambda data: data.update(image_token_id=9))
    assert not agree(subject).ok
    assert "the config has 9" in agree(subject).measured


def test_a_token_that_the_tokenizer_does_not_have_is_seen(built: Build) -> None:
    subject = built(*LLAVA)
    edit(processor_file(subject), lambda data: data.update(image_token="<picture>"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = subject.folder / name
        path.write_text(path.read_text().replace("<image>", "<was>"))
    named = subject.folder / "tokenizer_config.json"
    gone = ("image_token", "model_specific_special_tokens")
    edit(named, lambda data: {name: value for name, value in data.items() if name not in gone})
    assert not agree(subject).ok
    assert "'<picture>' (image_token) is not a token" in agree(subject).measured


def test_tokens_that_the_processor_adds_are_seen(built: Build) -> None:
    subject = built("blip-2", "Blip2ForConditionalGeneration", BLIP)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = subject.folder / name
        path.write_text(path.read_text().replace("<image>", "<was>"))
    found = agree(subject)
    assert not found.ok
    assert "adds 1 tokens: <image>" in found.measured


# --- files of an upstream -------------------------------------------------------------------------


def upstream(tmp_path: Path, config: Any, **files: Any) -> Path:
    """A folder as fetch leaves it: the config, and files whose names have _json for .json."""
    folder = tmp_path / f"fetch-{len(list(tmp_path.iterdir()))}"
    config.save_pretrained(folder / "source")
    for name, data in files.items():
        path = folder / "source" / f"{name.removesuffix('_json')}.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


def made(
    job: MakeJob, folder: Path, name: str, config: Mapping[str, Any], ids: Any = None
) -> tuple[Path, dict[str, Any]]:
    section = {"architecture": name, "config": config, "dtype": "float32", "shrink": "none"}
    facts = {"tokenizer": {"ids": ids}} if ids is not None else {}
    work = job({"model": section, "max_parameters": 10_000_000}, facts=facts, fetch=folder)
    return work.out, wire.dump(model.make(work))


def test_files_of_an_upstream_are_shrunk_and_its_template_is_carried(
    job: MakeJob, tmp_path: Path
) -> None:
    from transformers import LlavaConfig

    size = {"do_center_crop": True, "crop_size": 336, "size": {"shortest_edge": 336}}
    folder = upstream(
        tmp_path,
        LlavaConfig(),
        preprocessor_config_json={**size, "image_processor_type": "CLIPImageProcessor"},
        processor_config_json={
            "image_token": "<image>",
            "num_additional_image_tokens": 7,
            "patch_size": 14,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "full",
        },
        chat_template_json={"chat_template": "{{ messages }}"},
    )
    out, facts = made(job, folder, "LlavaForConditionalGeneration", TOWERS)
    assert read(out / "preprocessor_config.json")["crop_size"] == 32
    whole = read(out / "processor_config.json")
    assert (whole["patch_size"], whole["num_additional_image_tokens"]) == (8, 1)
    assert whole["vision_feature_select_strategy"] == "default"
    assert read(out / "chat_template.json") == {"chat_template": "{{ messages }}"}
    assert facts["processor"] == ["CLIPImageProcessor", "LlavaProcessor"]


def test_what_a_class_derives_is_left_to_it(job: MakeJob, tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor, WhisperConfig, WhisperFeatureExtractor

    data = {**WhisperFeatureExtractor().to_dict(), "mel_filters": [[0.0] * 80] * 201}
    folder = upstream(tmp_path, WhisperConfig(), preprocessor_config_json=data)
    out, _ = made(job, folder, "WhisperModel", SPEECH)
    written = read(out / "preprocessor_config.json")
    assert not {"mel_filters", "n_samples", "nb_max_frames"} & written.keys()
    loaded = AutoFeatureExtractor.from_pretrained(out)
    assert (loaded.nb_max_frames, loaded.mel_filters.shape) == (80, (201, 16))


def test_what_a_class_keeps_in_a_mapping_stands_where_it_reads_it() -> None:
    """Granite Speech saves melspec_kwargs, and reads n_mels."""
    kept = {"sample_rate": 16000, "n_fft": 512, "n_mels": 20}
    node = {"feature_extractor_type": "GraniteSpeechFeatureExtractor", "melspec_kwargs": kept}
    assert processor._underived("", node) == {
        "feature_extractor_type": "GraniteSpeechFeatureExtractor",
        "n_fft": 512,
        "n_mels": 20,
    }


def test_ids_in_a_processor_file_follow_the_tokenizer(job: MakeJob, tmp_path: Path) -> None:
    from transformers import ViTConfig

    folder = upstream(
        tmp_path,
        ViTConfig(),
        preprocessor_config_json={"image_token_id": 32000, "bos_id": 1, "size": 224},
    )
    ids = {"sizes": {}, "special": {}, "moved": {"32000": 7}, "keep": False}
    ids |= {"missing": "error"}
    out, _ = made(job, folder, "ViTModel", VISION, ids)
    written = read(out / "preprocessor_config.json")
    # bos_id and the like are a part's own (SLANet writes tables with them)
    assert written == {"image_token_id": 7, "bos_id": 1, "size": 32}


def test_a_file_that_names_no_class_is_of_the_types(job: MakeJob, tmp_path: Path) -> None:
    from transformers import ViTConfig, Wav2Vec2Config

    from tinybuild.feeding.processor import parts

    folder = upstream(tmp_path, ViTConfig(), preprocessor_config_json={"size": 224})
    out, _ = made(job, folder, "ViTModel", VISION)
    loaded, _ = parts.load(out, whole=False)
    assert loaded.image_processor.size == {"height": 32, "width": 32}
    sound = {"sampling_rate": 16000, "feature_size": 1}
    folder = upstream(tmp_path, Wav2Vec2Config(), preprocessor_config_json=sound)
    loaded, _ = parts.load(folder / "source", whole=False)
    assert type(loaded.feature_extractor).__name__ == "Wav2Vec2FeatureExtractor"


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "a JSON object"), ("{", "JSON: "), ("null", "a JSON object")]
)
def test_a_processor_file_that_is_no_object_is_a_fault(
    job: MakeJob, tmp_path: Path, text: str, said: str
) -> None:
    from transformers import ViTConfig

    folder = upstream(tmp_path, ViTConfig(), preprocessor_config_json=text)
    refusal = refused(made, job, folder, "ViTModel", VISION)
    assert refusal.what.startswith(f"the source's preprocessor_config.json is not {said}")


def test_the_same_twice(job: MakeJob, tmp_path: Path) -> None:
    folder = fetch(job, source="llava")
    first, _ = made(job, folder, "LlavaForConditionalGeneration", TOWERS)
    again, _ = made(job, fetch(job, source="llava"), "LlavaForConditionalGeneration", TOWERS)
    assert contents(first) == contents(again)


def test_a_part_that_needs_a_package_is_said(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinybuild.feeding.processor import parts

    subject = built(*CLIP)
    monkeypatch.setattr(parts, "class_of", lambda node: None)
    found = feeds(subject)
    assert (found.state, found.measured) == ("not tried", "not tried here")
    assert "CLIPImageProcessor: not with the packages that are installed here" in found.note


def test_a_real_tokenizer_beside_a_default_processor(
    job: MakeJob, tmp_path: Path, upstreams: Path
) -> None:
    """Whisper's own 1,607 special tokens, the processor of the type, a window of 80 frames."""
    folder = fetch(job, source="whisper")
    for path in (upstreams / "whisper-tiny").iterdir():
        shutil.copyfile(path, folder / "source" / path.name)
    settings = {"tokenizer": {"method": "truncate", "vocab_size": 2500}, "slot": "source"}
    settings |= {"kind": "path", "blank": False, "related": True}
    words = job(settings, fetch=folder)
    facts = {"tokenizer": wire.dump(tokenizer.make(words))}
    section = {"architecture": WHISPER[1], "config": SPEECH, "dtype": "float32", "shrink": "none"}
    work = job({"model": section, "max_parameters": 10_000_000}, facts=facts, fetch=folder)
    facts["model"] = wire.dump(model.make(work))
    packed = tmp_path / "packed"
    packed.mkdir()
    bundle.lay({"tokenizer": words.out, "model": work.out}, packed)
    subject = Subject(folder=packed, scratch=tmp_path, facts=facts, seed=0)
    assert feeds(subject).ok, feeds(subject)
    assert agree(subject).ok, agree(subject)


def test_a_decoder_of_several_codebooks_begins_in_each() -> None:
    from types import SimpleNamespace

    import torch
    from transformers import MusicgenConfig, T5Config

    from tinybuild.validate.samples import complete

    def forward(input_ids: Any = None, decoder_input_ids: Any = None) -> None: ...

    made_of: Any = {"forward": forward, "dtype": torch.float32, "modules": lambda: ()}
    speaks: Any = SimpleNamespace(config=MusicgenConfig(), **made_of)
    writes: Any = SimpleNamespace(config=T5Config(), **made_of)
    ids = {"input_ids": torch.ones(1, 3, dtype=torch.long)}
    flat, deep = torch.zeros(8, 5), torch.zeros(2, 5, 4)
    books = speaks.config.decoder.num_codebooks
    wanted = [(speaks, flat, (books, 2)), (speaks, deep, (1, 2, 4)), (writes, flat, (1, 2))]
    for one, seen, shape in wanted:
        made = complete(one, ids, {"decoder_input_ids": seen})
        assert tuple(made["decoder_input_ids"].shape) == shape


@pytest.mark.parametrize(
    "named",
    [
        {
            "audio_tokenizer": {
                "audio_tokenizer_class": "DacModel",
                "audio_tokenizer_name_or_path": "descript/dac_44khz",
            }
        },
        {"repo_path": "shi-labs/oneformer_demo", "class_info_file": "ade20k_panoptic.json"},
    ],
)
def test_what_a_processor_would_load_from_the_hub_is_not_in_a_bundle(named: Any) -> None:
    assert shrink({"num_text": 234, **named}, {}, {}) == {"num_text": 234}
    alone = {"class_info_file": "classes.json"}
    assert shrink(alone, {}, {}) == alone


CLASSES = {"0": {"name": "wall", "isthing": 0}, "1": {"name": "cat", "isthing": 1}}
SEES = {
    "image_processor_type": "OneFormerImageProcessor",
    "repo_path": "org/classes",
    "class_info_file": "ade.json",
    "num_text": 4,
}


@pytest.mark.parametrize("part", ["", "image_processor"])
def test_what_a_class_takes_from_another_repository_is_kept(tmp_path: Path, part: str) -> None:
    """The bundle's needs neither the repository nor the file."""
    from transformers import OneFormerImageProcessorPil

    files: dict[str, Any] = {"preprocessor_config.json": {part: SEES} if part else SEES}
    plain = {name: shrink(data, {}, {}) for name, data in files.items()}
    assert abroad.kept(files, plain, tmp_path / "source") == plain  # it was not fetched
    assert abroad.without(files, plain) == ("`class_info_file` (ade.json)",)
    place = tmp_path / f"source.{part}{'.' if part else ''}class_info_file/ade.json"
    place.parent.mkdir()
    place.write_text(json.dumps(CLASSES))
    made = abroad.kept(files, plain, tmp_path / "source")
    assert abroad.without(files, made) == ()
    node: Any = made["preprocessor_config.json"]
    node = node[part] if part else node
    assert "repo_path" not in node
    assert str(tmp_path) not in json.dumps(node)
    loaded = OneFormerImageProcessorPil(**node)
    assert loaded.metadata == {
        **{"0": "wall", "1": "cat"},
        **{"class_names": ["wall", "cat"], "thing_ids": [1]},
    }
    place.write_text('{"0": "wall"}')
    said = refused(abroad.kept, files, plain, tmp_path / "source").what
    assert "the source's processor does not take ade.json" in said


def test_a_model_that_a_processor_names_is_said(tmp_path: Path) -> None:
    named = {
        "audio_tokenizer_class": "DacModel",
        "audio_tokenizer_name_or_path": "descript/dac_44khz",
    }
    files = {"processor_config.json": {"audio_tokenizer": named, "num_text": 234}}
    assert abroad.without(files, {}) == ("`audio_tokenizer` (descript/dac_44khz)",)


@pytest.mark.parametrize(
    ("model_type", "kind", "key", "value"),
    [
        ("cohere_asr", "feature_extractor_type", "feature_size", 128),
        ("vit", "image_processor_type", "size", {"height": 224, "width": 224}),
    ],
)
def test_a_file_that_names_a_class_alone_has_that_of_the_class(
    tmp_path: Path, model_type: str, kind: str, key: str, value: object
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({"processor_class": "Mine", "auto_map": {}}))
    read = processor.read(tmp_path)["preprocessor_config.json"]
    assert read["processor_class"] == "Mine"
    assert kind in read
    assert read[key] == value
    file.write_text(json.dumps({"processor_class": "Mine", "do_normalize": True}))
    assert processor.read(tmp_path) == {file.name: json.loads(file.read_text())}
