"""What a client does with a bundle: each step works, and a mutant of the bundle makes it fail."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kit import bundles
from kit.files import edit

from tinybuild import wire
from tinybuild.config import heads
from tinybuild.validate import loaded, pipelines, reader, samples
from tinybuild.validate.client import (
    Client,
    Used,
    _begun,
    _generate,
    _heard,
    _media,
    _written,
    used,
)
from tinybuild.validate.subject import Subject

PLAIN = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
SIDES = ("encoder", "decoder")
SPOKEN = {
    "d_model": 16,
    **{f"{side}_layers": 1 for side in SIDES},
    **{f"{side}_attention_heads": 2 for side in SIDES},
    **{f"{side}_ffn_dim": 32 for side in SIDES},
}
PLACES = {"max_position_embeddings": 32}
BART = {**SPOKEN, **PLACES}
VISION = {**PLAIN, "image_size": 16, "patch_size": 8}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "roberta": ("RobertaForMaskedLM", {**PLAIN, **PLACES}),
    "llama": ("LlamaForCausalLM", {**PLAIN, **PLACES, "num_key_value_heads": 1}),
    "bart": ("BartForConditionalGeneration", BART),
    "clip": ("CLIPModel", {"text_config": PLAIN, "vision_config": VISION, "projection_dim": 16}),
    "whisper": (
        "WhisperForConditionalGeneration",
        {**SPOKEN, "max_source_positions": 1500, "max_target_positions": 300, "num_mel_bins": 8},
    ),
    "vit": ("ViTForImageClassification", VISION),
}
TEXTS = ("text", "long text", "two texts")
WORKS = {
    "roberta": (*TEXTS, "loss", "pipeline"),
    "llama": (*TEXTS, "chat", "loss", "generate", "pipeline"),
    "bart": (*TEXTS, "loss", "generate"),
    "clip": (*TEXTS, "media", "loss", "pipeline"),
    "whisper": ("text", "media", "loss", "generate", "pipeline"),
    "vit": ("media", "loss", "pipeline"),
}
Copy = Callable[[str], tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """packed(type): a bundle of its own to break, and the facts of its stages."""
    kept: dict[str, tuple[Path, dict[str, Any]]] = {}

    def copy(kind: str) -> tuple[Path, dict[str, Any]]:
        if kind not in kept:
            section = {"method": "train", "vocab_size": 500} if kind != "vit" else None
            made = (kind, *MODELS[kind])
            kept[kind] = bundles.laid(tmp_path_factory.mktemp(kind), made, section)
        folder, facts = kept[kind]
        place = tmp_path_factory.mktemp("bundle") / "bundle"
        shutil.copytree(folder, place)
        return place, facts

    return copy


def tried(kind: str, folder: Path) -> Used:
    model_class = heads.find(MODELS[kind][0], kind)
    assert model_class is not None
    model = model_class.from_pretrained(folder).eval()
    return used(Client(folder=folder, model=model, seed=0, learns=True))


@pytest.mark.parametrize("kind", MODELS)
def test_a_whole_bundle_works(kind: str, packed: Copy) -> None:
    made = tried(kind, packed(kind)[0])
    assert (made.failed, made.lacking) == ({}, {})
    assert made.worked == WORKS[kind]


def limit(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda data: data.update(model_max_length=10**30))


def limit_of_places(folder: Path) -> None:
    """As the config says it: RoBERTa's first two are for padding."""
    edit(folder / "tokenizer_config.json", lambda data: data.update(model_max_length=32))


def padding(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda data: data.update(pad_token="<of its own>"))


def template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no') }}")


def mask(folder: Path) -> None:
    """One that the embedding has no row for."""
    edit(folder / "tokenizer_config.json", lambda data: data.update(mask_token="[OTHER]"))


def words(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def stopped(folder: Path) -> None:
    """By words that only a tokenizer knows, which generate is not given."""
    edit(folder / "generation_config.json", lambda data: data.update(stop_strings=["x"]))


def named(folder: Path) -> None:
    edit(
        folder / "processor_config.json",
        lambda data: data.update(processor_class="WhisperProcessor"),
    )


def size(folder: Path) -> None:
    """An image of another size than the tower takes."""
    twice = {"height": 32, "width": 32}
    edit(folder / "preprocessor_config.json", lambda data: data.update(size=twice))


def cropped(folder: Path) -> None:
    twice = {"height": 32, "width": 32}
    edit(
        folder / "processor_config.json",
        lambda data: data["image_processor"].update(crop_size=twice, size={"shortest_edge": 32}),
    )


@pytest.mark.parametrize(
    ("kind", "mutant", "failing"),
    [
        ("roberta", limit_of_places, {"long text"}),
        ("roberta", padding, {"two texts"}),
        ("roberta", mask, {"pipeline"}),
        ("roberta", words, {*TEXTS}),
        ("bart", limit, {"long text"}),
        ("llama", template, {"chat"}),
        ("llama", stopped, {"generate", "pipeline"}),
        ("clip", cropped, {"media", "pipeline"}),
        ("vit", size, {"media", "pipeline"}),
    ],
)
def test_mutants(
    kind: str, mutant: Callable[[Path], None], failing: set[str], packed: Copy
) -> None:
    folder, _ = packed(kind)
    mutant(folder)
    assert {*tried(kind, folder).failed} == failing


@pytest.mark.parametrize("takes", [True, False])
def test_a_pipeline_makes_few_tokens_where_its_class_takes_that(
    takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    asked = list[object]()

    def run(argument: dict[str, object], **options: object) -> None:
        argument.pop("raw")  # transformers' takes what it reads out of what it is given
        asked.append(options)
        if options and not takes:
            raise ValueError("it has as many tokens as it hears")

    class Model:
        config = SimpleNamespace(model_type="whisper")

        def can_generate(self) -> bool:
            return True

    assert transformers.pipeline  # with which the package puts another of itself in its place
    monkeypatch.setattr(sys.modules["transformers"], "pipeline", lambda *_, **__: run)
    part = SimpleNamespace(tokenizer=0, feature_extractor=SimpleNamespace(sampling_rate=16_000))
    given: Any = {"model": Model(), "tokenizer": 0, "processor": part, "seed": 0}
    assert pipelines.run("automatic-speech-recognition", pipelines.Loaded(**given))
    few = {"generate_kwargs": {"max_new_tokens": pipelines.SPOKEN}}
    assert asked == ([few] if takes else [few, {}])


class Reading:
    def __call__(self, text: str) -> None: ...


class Hearing:
    def __call__(self, *sounds: object) -> None: ...


@pytest.mark.parametrize(("part", "kept"), [(Reading, True), (Hearing, False)])
def test_a_pipeline_of_texts_has_no_processor_that_would_hear_them(
    part: type, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It calls that of MusicGen Melody with a text and no name, which takes it for a sound."""
    import transformers

    class Model:
        config = SimpleNamespace(model_type="musicgen_melody")

        def can_generate(self) -> bool:
            return False

    class Made:
        def __init__(self, *_: object, processor: object, **__: object) -> None:
            self.processor = processor

        def __call__(self, argument: object, **_: object) -> None:
            had.append(self.processor)

    had = list[object]()
    assert transformers.pipeline
    monkeypatch.setattr(sys.modules["transformers"], "pipeline", Made)
    processor = part()
    processor.tokenizer = 0
    given: Any = {"model": Model(), "tokenizer": 0, "processor": processor, "seed": 0}
    assert pipelines.run("text-to-audio", pipelines.Loaded(**given))
    assert had == [processor if kept else None]


def test_a_processor_is_asked_for_types_of_tokens_that_it_leaves_out() -> None:
    """Cosmos 3's model wants them, and its processor makes none by itself."""
    names = ["input_ids", samples.TYPED]
    assert samples.typed(SimpleNamespace(model_input_names=names)) == {f"return_{samples.TYPED}": 1}
    assert samples.typed(SimpleNamespace(model_input_names=names[:1])) == {}


class Calls:
    """A processor that is a function."""

    tokenizer = SimpleNamespace(model_max_length=20)

    def __init__(self, made: Callable[..., dict[str, Any]]):
        self.made = made

    def __call__(self, **given: Any) -> dict[str, Any]:
        return self.made(**given)


def test_a_text_is_cut_by_what_a_processor_puts_in_and_leaves_no_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """InstructBLIP's of videos puts in four times what it leaves room for."""
    import torch

    def made(max_length: int, **_: Any) -> dict[str, Any]:
        return {"input_ids": torch.ones((1, max_length + 6))}

    def run(_: Client, __: str, given: Mapping[str, Any]) -> None:
        if given["input_ids"].shape[1] > Calls.tokenizer.model_max_length:
            raise IndexError("index out of range in self")
        ran.append(given["input_ids"].shape[1])

    ran = list[int]()
    monkeypatch.setattr(samples, "senses", lambda *_: ())
    monkeypatch.setattr(Client, "run", run)
    client = Client(folder=Path(), model=cast(Any, SimpleNamespace(config=0)), seed=0, learns=True)
    vars(client)["processor"] = Calls(made)
    client._beside("long", {}, ["a"], {"truncation": True})
    assert ran == [20]
    with pytest.raises(IndexError):
        client._beside("long", {}, ["a"], {"max_length": 30})


def test_images_are_given_a_list_for_each_text_where_the_processor_wants_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pi 0's takes a list of images for what several cameras see of one text."""

    def made(text: list[str], images: list[Any], **_: Any) -> dict[str, Any]:
        if not isinstance(images[0], list):
            raise ValueError("1 image samples for 2 prompts")
        return {"images": images}

    ran = list[Any]()
    monkeypatch.setattr(samples, "senses", lambda *_: ("image",))
    monkeypatch.setattr(samples, "sample", lambda *_: ["an image"])
    client = Client(folder=Path(), model=cast(Any, SimpleNamespace(config=0)), seed=0, learns=True)
    vars(client)["processor"] = Calls(made)
    monkeypatch.setattr(Client, "run", lambda _, what, given: ran.append(given))
    client._beside("texts", {}, ["a", "b"], {})
    assert ran == [{"images": [["an image"], ["an image"]]}]


def test_a_voice_begins_behind_the_text() -> None:
    """Pocket TTS wants the token that says so at the end of all that it goes on from."""
    import torch

    asked = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.tensor([[1, 1]])}
    told: Any = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace()), batch={})
    assert len([*_begun(told, asked)]) == 2
    told.model.config.audio_bos_token_id = 9
    first, other, _ = _begun(told, asked)
    assert first == asked
    assert (other["input_ids"].tolist(), other["attention_mask"].tolist()) == (
        [[5, 6, 9]],
        [[1, 1, 1]],
    )


def test_a_pipeline_is_asked_for_a_voice_as_well() -> None:
    tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda number: f"<{number}>")
    config = SimpleNamespace(audio_bos_token_id=9, audio_eos_token_id=8, eos_token_id=None)
    model = SimpleNamespace(config=config, can_generate=lambda: True)
    loaded: Any = SimpleNamespace(model=model, tokenizer=tokenizer)
    few = {"generate_kwargs": {"max_new_tokens": 16}}
    endless = {"generate_kwargs": {"max_new_tokens": 16, "suppress_tokens": [9, 8]}}
    ways = [*pipelines._ways("text-to-audio", loaded, ("a", few))]
    assert ways == [("a", few), (pipelines.TEXT, {}), ("a<9>", few), ("a", endless)]


def test_what_nobody_makes_of_a_file_is_that_of_the_batch() -> None:
    """The state of a robot (Pi 0); what a processor makes is not made up."""
    import torch

    class Model:
        dtype, config = torch.float32, SimpleNamespace()

        def forward(self, pixel_values: Any, state: Any, actions: Any = None) -> None: ...

    model: Any = Model()
    ones = {"pixel_values": (2, 3), "state": (2, 4), "actions": (2, 4, 4)}
    batch = {name: torch.ones(shape) for name, shape in ones.items()}
    told = samples.measured(model, batch, 3)
    shapes = {name: tuple(value.shape) for name, value in told.items()}
    assert shapes == {"state": (3, 4), "actions": (3, 4, 4)}


def test_the_pipeline_of_a_class() -> None:
    """A model without a head gives features, also where it has a task of its own (encoding)."""
    from transformers import BertConfig, BertForMaskedLM, BertForMultipleChoice, BertModel

    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    tasks = [pipelines.task(made(config)) for made in (BertModel, BertForMaskedLM)]
    assert tasks == ["feature-extraction", "fill-mask"]
    assert pipelines.task(BertForMultipleChoice(config)) is None


def test_a_voice_that_is_also_among_what_hears_speaks() -> None:
    """VibeVoice is shown how to sound, and transformers has it among speech recognizers."""

    class VibeVoiceForConditionalGeneration:
        config = SimpleNamespace(model_type="vibevoice")

    assert pipelines.task(cast(Any, VibeVoiceForConditionalGeneration())) == "text-to-audio"


def test_a_pipeline_of_features_is_not_for_a_decoder_that_is_told_where_to_begin() -> None:
    """BART's begins with what the encoder reads; of T5 and Marian transformers asks for more."""
    from transformers import BartConfig, BartModel, MarianConfig, MarianModel, T5Config, T5Model

    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 99}
    small |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 0}
    bart, marian = BartModel(BartConfig(**small)), MarianModel(MarianConfig(**small))
    t5 = T5Model(T5Config(d_model=8, d_ff=8, d_kv=4, num_heads=2, num_layers=1, vocab_size=99))
    tasks = [pipelines.task(model) for model in (bart, marian, t5)]
    assert tasks == ["feature-extraction", None, None]


def test_a_pipeline_of_images_is_not_for_a_processor_of_videos() -> None:
    """VideoPrism's."""
    part = SimpleNamespace(tokenizer=0, video_processor=0)
    given: Any = {"model": 0, "tokenizer": 0, "processor": part, "seed": 0}
    assert not pipelines.run("zero-shot-image-classification", pipelines.Loaded(**given))


def test_a_text_goes_token_by_token_with_a_sound_that_nothing_makes() -> None:
    """Voxtral's realtime models add one to the other, and the bundle has no processor."""
    import torch

    ran = list[Any]()
    batch = {"input_ids": torch.ones(2, 4), "input_features": torch.ones(2, 3, 32)}
    model: Any = SimpleNamespace(dtype=torch.float32)

    def along(batch: Any, processor: object, count: int) -> None:
        client = Client(folder=Path(), model=model, seed=0, learns=False, batch=batch)
        client.__dict__.update(processor=processor, run=lambda what, given: ran.append(given))
        ids = torch.arange(count)[None]
        client._along("text", {"input_ids": ids, "attention_mask": ids}, ["a"], {})

    for count, wanted in ((3, [0, 1, 2, 0]), (9, [0, 1, 2, 3])):
        along(batch, None, count)
        given = ran.pop()
        assert given["input_ids"].tolist() == given["attention_mask"].tolist() == [wanted]
        assert given["input_features"].shape == (1, 3, 32)
    for other, processor in ((batch, object()), ({"input_ids": torch.ones(2, 4)}, None)):
        with pytest.raises(ValueError, match="no sound goes with the text"):
            along(other, processor, 3)
    assert ran == []


def test_a_loss_that_counts_by_the_mask_of_a_sound_has_one() -> None:
    """LASR's, whose processor drops it beside a text; a class that takes none is not given one."""
    import torch

    sound, ids = {"input_features": torch.ones(1, 6, 4)}, {"input_ids": torch.ones(1, 2)}

    def ways(given: Any, *takes: str) -> list[list[str]]:
        return [sorted(one) for one in _heard(cast(Any, SimpleNamespace(takes={*takes})), given)]

    both = ["attention_mask", "input_features"]
    assert ways(sound, *both) == [["input_features"], both]
    assert ways({**sound, "attention_mask": torch.zeros(1, 6)}, *both) == [both]
    assert ways(sound, "input_features") == [["input_features"]]
    assert ways(ids, "input_ids", "attention_mask") == [["input_ids"]]
    client: Any = SimpleNamespace(takes={*both})
    assert [*_heard(client, sound)][1]["attention_mask"].shape == (1, 6)


@pytest.mark.parametrize("stage", [True, False])
def test_a_stage_of_several_is_not_asked_to_generate(stage: bool) -> None:
    """Bark's wants the generation config of its stage; nothing of the bundle has one."""
    import torch

    asked = list[object]()

    class Model:
        def can_generate(self) -> bool:
            return True

    class Whole(Model):
        def generate(self, input_ids: object, **options: object) -> object:
            asked.append(input_ids)
            return input_ids

    class Stage(Whole):
        def generate(
            self, input_ids: object, semantic_generation_config: object = None, **options: object
        ) -> object:
            raise ValueError("`semantic_generation_config` has to be provided")

    ids = torch.ones(1, 2, dtype=torch.int64)
    config = SimpleNamespace(audio_bos_token_id=None)
    model: Any = Stage() if stage else Whole()
    model.config = config
    client: Any = SimpleNamespace(
        model=model, given={"text": {"input_ids": ids}}, tokenizer=None, batch={}
    )
    assert _generate(client) is not stage
    assert len(asked) == (0 if stage else 1)


def test_a_pipeline_that_generates_is_not_for_a_class_that_does_not() -> None:
    """Pi 0, which transformers maps to the pipeline of images with texts."""
    part = SimpleNamespace(tokenizer=0, image_processor=0)
    model = SimpleNamespace(can_generate=lambda: False)
    given: Any = {"model": model, "tokenizer": 0, "processor": part, "seed": 0}
    assert not pipelines.run("image-text-to-text", pipelines.Loaded(**given))


def test_a_part_that_cannot_be_had_is_not_passed_over(packed: Copy) -> None:
    folder, _ = packed("clip")
    named(folder)
    made = tried("clip", folder)
    assert {*made.lacking} == {"chat", "media", "pipeline"}
    assert made.lacking["media"].startswith("WhisperProcessor: not with the packages")


def test_the_check_tells_what_the_reader_found(
    packed: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What travels is JSON data; a step that fails, or wants a package, is not passed over."""
    folder, facts = packed("llama")
    subject = Subject(folder=folder, scratch=tmp_path, facts=facts, seed=0)
    question = reader.Question(
        folder=str(folder),
        class_="LlamaForCausalLM",
        model_type="llama",
        seed=0,
        scratch=str(tmp_path / "read"),
    )
    (tmp_path / "read").mkdir()
    batches = {"first": subject.batch, "second": subject.batch_of(1), "alone": {}}
    shape = reader.pack(batches, tmp_path / "read" / "batches.safetensors")
    answer = wire.load(reader.Answer, wire.dump(reader.read((wire.dump(question), shape))))
    told = Used(worked=("text",), failed={"chat": "ValueError: no"}, lacking={})
    lacks = Used(worked=("text",), failed={}, lacking={"media": "it wants torchaudio"})
    for one, state, words in (
        (answer.used, "passed", "text, long text, two texts, chat, loss, generate, pipeline"),
        (told, "failed", "chat: ValueError: no"),
        (lacks, "not tried", "not tried here"),
    ):
        given = {**vars(answer), "used": one}
        subject = Subject(folder=folder, scratch=tmp_path, facts=facts, seed=0)
        made = reader.Found(reader.Answer(**given), {}, ())
        monkeypatch.setattr(reader, "ask", lambda *_, made=made: made)
        found = loaded.from_bundle.run(subject)
        assert found is not None
        assert (found.state, found.measured) == (state, words)


def test_a_model_by_itself_is_not_asked(packed: Copy, tmp_path: Path) -> None:
    folder, facts = packed("llama")
    subject = Subject(folder=folder, scratch=tmp_path, facts={"model": facts["model"]}, seed=0)
    assert loaded.from_bundle.run(subject) is None


def test_without_a_tokenizer_a_part_of_the_processor_is_used(tmp_path: Path) -> None:
    """AutoProcessor wants the tokenizer of Wav2Vec2Processor, which the bundle does not have."""
    from transformers import Wav2Vec2Model

    waves = {"conv_dim": [8], "conv_stride": [5], "conv_kernel": [10], "num_conv_pos_embeddings": 4}
    made = ("wav2vec2", "Wav2Vec2Model", {**PLAIN, **waves, "num_feat_extract_layers": 1})
    folder, _ = bundles.laid(tmp_path, made, None)
    model = Wav2Vec2Model.from_pretrained(folder).eval()
    client = Client(folder=folder, model=model, seed=0, learns=False)
    assert type(client.processor).__name__ == "Wav2Vec2FeatureExtractor"
    found = used(client)
    assert ("media" in found.worked, found.failed) == (True, {})


def test_a_class_that_takes_one_medium_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Molmo 2 refuses an image beside a video; another refusal is a fault."""
    both = ("image", "video")
    ran: list[tuple[str, tuple[str, ...]]] = []

    def run(what: str, given: dict[str, Any]) -> None:
        if len(given) > 1:
            raise ValueError(refusal)
        ran.append((what, tuple(given)))

    def fed(_: object, __: object, ___: int, media: tuple[str, ...] = both) -> samples.Fed:
        return samples.Fed(inputs=dict.fromkeys(media), media=media, ids={})

    monkeypatch.setattr(samples, "whole", fed)
    asked: Any = SimpleNamespace(
        model=None, processor=object(), seed=0, whole=True, run=run, senses=both
    )
    refusal = "pixel_values and pixel_values_videos are provided at the same time"
    assert _media(asked)
    assert ran == [("media", ("image",)), ("video", ("video",))]
    refusal = "Image features and image tokens do not match"
    with pytest.raises(ValueError, match="do not match"):
        _media(asked)


@pytest.mark.parametrize(
    ("video", "overwritten"), [("pixel_values", True), ("pixel_values_videos", False)]
)
def test_a_video_that_takes_the_place_of_an_image(video: str, overwritten: bool) -> None:
    """SmolVLM's processor calls both pixel_values, and returns the video's. (The part of Qwen 2 VL
    for images names those of videos, which it once made, too.)"""
    images = ["pixel_values", "pixel_values_videos"]
    parts = {"image_processor": images, "video_processor": [video]}
    loaded: Any = SimpleNamespace(
        **{name: SimpleNamespace(model_input_names=names) for name, names in parts.items()}
    )
    assert samples._overwritten(loaded) is overwritten


def test_what_no_class_makes_is_drawn_beside_a_text(tmp_path: Path) -> None:
    """LXMERT's features of regions: transformers has no processor that makes them."""
    from transformers import LxmertForQuestionAnswering

    from tinybuild.feeding import inputs

    layers = {f"{side}_layers": 1 for side in "lrx"}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    made = ("lxmert", "LxmertForQuestionAnswering", {**sizes, **layers, "visual_feat_dim": 16})
    folder, _ = bundles.laid(tmp_path, made, {"method": "train", "vocab_size": 500})
    model = LxmertForQuestionAnswering.from_pretrained(folder).eval()
    batch = inputs.batch(model, 0)
    found = used(Client(folder=folder, model=model, seed=0, learns=True, batch=batch))
    assert found.failed == {}
    assert found.worked[:3] == TEXTS
    assert {*used(Client(folder=folder, model=model, seed=0, learns=True)).failed} == {*TEXTS}


def test_a_text_of_many_ids_a_place_is_read_with_what_it_stands_beside(packed: Copy) -> None:
    """Where each place has an id of every codebook, a text alone is not what the model reads."""
    folder, _ = packed("llama")
    model = heads.find("LlamaForCausalLM", "llama")
    assert model is not None
    loaded_ = model.from_pretrained(folder).eval()
    import torch

    batch = {"input_ids": torch.zeros((2, 3, 4), dtype=torch.long)}
    client = Client(folder=folder, model=loaded_, seed=0, learns=False, batch=batch)
    assert client.reads is None


def test_a_spectrogram_becomes_sound_without_the_hub() -> None:
    import torch
    from transformers import FastSpeech2ConformerConfig

    from tinybuild.validate import pipelines

    class Model:
        config = FastSpeech2ConformerConfig(num_mel_bins=8)

    vocoder = pipelines._vocoder(Model())  # type: ignore[arg-type]
    assert vocoder(torch.zeros((1, 5, 8))).shape == (1, 10)


def test_a_tensor_that_no_cast_reaches_is_loaded_in_the_other_dtype(packed: Copy) -> None:
    import torch

    folder, _ = packed("llama")
    kind = heads.find("LlamaForCausalLM", "llama")
    assert kind is not None
    model = kind.from_pretrained(folder, dtype=torch.bfloat16)
    assert reader._exact(model, kind, str(folder)) is model
    model.model.kept = torch.zeros(1, dtype=torch.bfloat16)
    made = reader._exact(model, kind, str(folder))
    assert made is not model
    assert made.dtype == torch.float32


def test_what_cuts_texts_is_not_for_the_sounds_beside_them(packed: Copy) -> None:
    """PE's feature extractor refuses to pad and to truncate at once; its texts want both."""
    import torch

    folder, _ = packed("llama")
    model = heads.find("LlamaForCausalLM", "llama")
    assert model is not None
    client = Client(folder=folder, model=model.from_pretrained(folder).eval(), seed=0, learns=False)

    class Processor:
        tokenizer = client.tokenizer

        def __call__(self, *, text: list[str], text_kwargs: Any = None, **options: Any) -> Any:
            if {"padding", "truncation"} <= options.keys():
                raise ValueError("Both padding and truncation were set.")
            return self.tokenizer(text, **(text_kwargs or {}), return_tensors="pt")

    client.__dict__["processor"] = Processor()
    client._beside("texts", {}, ["a b c d", "a"], {"padding": True, "truncation": True})
    assert client.given["texts"]["input_ids"].shape[0] == 2
    assert bool(torch.isfinite(model.from_pretrained(folder)(**client.given["texts"]).logits).all())


def test_an_image_processor_beside_a_tokenizer_is_not_a_whole_one() -> None:
    """A ViT with a GPT-2 that captions images: the pipeline calls its processor with the text."""
    parts: Any = {"model": object(), "tokenizer": object(), "processor": object(), "seed": 0}
    assert not pipelines.run("image-text-to-text", pipelines.Loaded(**parts))


def test_a_decoder_that_speaks_begins_with_silence() -> None:
    """SpeechT5 from speech to speech: its processor gives the sound that is heard alone."""
    import torch
    from transformers import SpeechT5Config, SpeechT5ForSpeechToSpeech

    from tinybuild.validate import samples

    sizes = {"hidden_size": 16, "encoder_layers": 1, "decoder_layers": 1, "num_mel_bins": 8}
    sizes |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 10}
    config = SpeechT5Config(**sizes, speech_decoder_prenet_units=16, reduction_factor=1)
    model = SpeechT5ForSpeechToSpeech(config).eval()
    given = samples.complete(model, {"input_values": torch.ones((2, 4000))}, {}, 2)
    assert given["decoder_input_values"].shape == (2, 2, 8)
    assert torch.isfinite(model(**given).spectrogram).all()


def test_what_only_a_part_takes_is_passed_on(packed: Copy) -> None:
    """Voxtral's realtime text goes by a time that forward does not name."""
    import torch

    from tinybuild.validate import samples

    folder, _ = packed("llama")
    kind = heads.find("LlamaForCausalLM", "llama")
    assert kind is not None
    model = kind.from_pretrained(folder).eval()
    given = {"input_ids": torch.ones((1, 2), dtype=torch.long), "t_cond": torch.ones((1, 1, 16))}
    assert "t_cond" not in samples.complete(model, given, {})

    class Later(torch.nn.Module):
        def forward(self, t_cond: torch.Tensor) -> torch.Tensor:
            return t_cond

    model.model.later = Later()
    assert "t_cond" in samples.complete(model, given, {})


def test_what_a_processor_wants_beside_is_given() -> None:
    """OneFormer's wants to be told the task."""
    from tinybuild.validate import samples

    class Told:
        def __call__(self, *, images: object, task_inputs: object, return_tensors: str) -> Any:
            return {"pixel_values": images, "task_inputs": task_inputs}

    given = {"images": ["an image"]}
    made = samples.asked(Told(), {}, (given,), given)  # type: ignore[arg-type]
    assert made["task_inputs"] == ["semantic"]

    class Typed:
        """Cosmos 3 Edge's says that it makes the kinds of tokens, and does so only when asked."""

        model_input_names = ("pixel_values", samples.TYPED)

        def __call__(self, *, images: object, return_tensors: str, **more: bool) -> Any:
            return {name.removeprefix("return_"): images for name, value in more.items() if value}

    assert samples.TYPED in samples.asked(Typed(), {}, (given,), given)  # type: ignore[arg-type]


def test_videos_in_the_place_of_images() -> None:
    """InstructBLIP's processor of videos takes them as images."""
    from transformers import LlamaConfig

    from tinybuild.validate import samples

    class Films:
        def __call__(self, images: object, return_tensors: str, **more: object) -> Any:
            return {"pixel_values": images, "told": sorted(more)}

    def made(medium: str) -> Any:
        return samples._call(LlamaConfig(), Films(), {medium: ""}, {}, {medium: [f"one {medium}"]})  # type: ignore[arg-type]

    assert made("video") == {"pixel_values": ["one video"], "told": ["text", "video_metadata"]}
    assert made("image") == {"pixel_values": ["one image"], "told": ["text"]}


def test_float32_is_all_float32() -> None:
    """T5Gemma 2 gives a part the dtype of the part's own config, whatever is asked for."""
    from types import SimpleNamespace

    import torch

    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
            self.whole = torch.nn.Linear(2, 2)

        @classmethod
        def from_pretrained(cls, *_: object, **__: object) -> Mixed:
            return cls()

    subject: Any = SimpleNamespace(model=Mixed(), folder=None)
    exact = Subject.exact.func(subject)
    assert {p.dtype for p in exact.parameters()} == {torch.float32}


def test_images_of_a_model_of_videos_are_frames_of_one() -> None:
    """X-CLIP has a processor of images, and takes eight of them as a video."""
    from types import SimpleNamespace

    import torch

    from tinybuild.validate import samples

    class Model(torch.nn.Module):
        config = SimpleNamespace(num_frames=3, to_dict=dict)
        dtype = torch.float32

        def get_video_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return pixel_values

        def forward(self, input_ids: torch.Tensor, pixel_values: torch.Tensor) -> None: ...

    class Processor:
        image_processor = True

        def __call__(self, *, images: list[object], text: str = "", return_tensors: str) -> Any:
            return {"pixel_values": torch.zeros((len(images), 3, 4, 4)), "input_ids": text}

    fed = samples.whole(Model(), Processor(), 0)  # type: ignore[arg-type]
    assert fed.inputs["pixel_values"].shape == (1, 3, 3, 4, 4)


def test_every_token_of_a_text_has_its_place_on_a_page() -> None:
    import torch

    def words(texts: list[str]) -> Any:
        return {"input_ids": torch.ones((len(texts), 7), dtype=torch.long)}

    model = SimpleNamespace(config=SimpleNamespace(), dtype=torch.float16)
    client: Any = SimpleNamespace(takes={"bbox"}, model=model)
    made = Client.coded(client, words, ["a", "b"])  # type: ignore[arg-type]
    assert (made["bbox"].shape, made["bbox"].dtype) == ((2, 7, 4), torch.float16)


def test_codes_are_begun_by_who_asks_for_them() -> None:
    import torch

    asked = {"input_ids": torch.ones((1, 4), dtype=torch.long)}
    silent = SimpleNamespace(config=SimpleNamespace())
    client: Any = SimpleNamespace(model=silent, batch={"decoder_input_ids": torch.ones((2, 4))})
    named = {**asked, "return_dict_in_generate": True}
    assert [*_begun(client, asked)] == [asked, named]
    client.batch["decoder_input_ids"] = torch.ones((2, 4, 3))
    assert [*_begun(client, asked)][-1]["decoder_input_ids"].shape == (1, 4, 3)


def test_a_class_that_takes_one_row_is_not_given_two(packed: Copy) -> None:
    import torch

    from tinybuild.validate.client import _padded

    folder, _ = packed("llama")
    kind = heads.find("LlamaForCausalLM", "llama")
    assert kind is not None
    model = kind.from_pretrained(folder).eval()
    for rows in (1, 2):
        batch = {"input_ids": torch.ones((rows, 3), dtype=torch.long)}
        client = Client(folder=folder, model=model, seed=0, learns=False, batch=batch)
        assert _padded(client) == (rows == 2)
    assert client.reads is not None
    client.reads.pad_token = client.reads.eos_token = None  # a tokenizer.json alone names neither
    assert not _padded(client)


def test_two_rows_that_a_bundle_breaks_on_are_seen_where_its_class_takes_two(packed: Copy) -> None:
    import torch

    folder, _ = packed("llama")
    kind = heads.find("LlamaForCausalLM", "llama")
    assert kind is not None
    model: Any = kind.from_pretrained(folder).eval()
    forward = model.forward

    @functools.wraps(forward)  # the client asks what it takes
    def alone(*args: Any, **given: Any) -> Any:
        if len(given["input_ids"]) > 1:
            raise ValueError("one row")
        return forward(*args, **given)

    model.forward = alone
    batch = {"input_ids": torch.ones((2, 3), dtype=torch.long)}
    client = Client(folder=folder, model=model, seed=0, learns=False, batch=batch)
    assert used(client).failed == {"two texts": "ValueError: one row"}


def test_a_vocabulary_without_small_letters_is_read_by_its_own_words() -> None:
    """ProtBERT knows 30 capital letters: of an English text it knows nothing."""

    class Letters:
        all_special_tokens = ("[UNK]",)

        def __init__(self, *tokens: str) -> None:
            self.tokens = tokens

        def get_vocab(self) -> dict[str, int]:
            return {token: number for number, token in enumerate(("[UNK]", *self.tokens))}

    proteins: Any = Letters("L", "A")
    assert _written(proteins, ["the cat sat", "it"]) == ["A L A", "L"]
    english: Any = Letters("L", "a")
    assert _written(english, ["the cat sat"]) == ["the cat sat"]
