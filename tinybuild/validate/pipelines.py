"""transformers' pipelines: which of them a model's class is for, and a sample for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinybuild.config import heads
from tinybuild.feeding.inputs import modalities
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.processor import features
from tinybuild.keys import measures
from tinybuild.validate.samples import (
    TYPED,
    asked,
    between,
    mark,
    placeholders,
    sampling_rate,
    spoken_from,
    typed,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXT = "This is a test."
NAMES = ["a cat", "a dog"]
NEW = 4  # tokens to generate
SPOKEN = 16  # of a sound, or to make one, which may want as many as it has code books
POINTS = 2  # a side, from which masks are made
WIDE = 16  # channels of a vocoder
ENDS = ("eos", "audio_eos")  # tokens that end a voice
VOICE = "text-to-waveform"
HEAD = "For"  # in the name of a class
PLAIN = ("input_ids", "pixel_values")  # what a pipeline of features gives
PARTS = ("image_processor", "feature_extractor")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model, and what the Auto classes make of its folder."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    processor: Any
    seed: int


Given = tuple[object, Mapping[str, object]]  # the argument of a pipeline, and its options
Sample = Callable[[Loaded], Given]


def _text(loaded: Loaded) -> Given:
    return TEXT, {}


def _masked(loaded: Loaded) -> Given:
    assert loaded.tokenizer is not None
    return f"This is a {loaded.tokenizer.mask_token}.", {}


def _image(loaded: Loaded) -> Given:
    return features.image(loaded.seed), {}


def _named(loaded: Loaded) -> Given:
    return features.image(loaded.seed), {"candidate_labels": NAMES}


def _asked(loaded: Loaded) -> Given:
    words = [("cat", [0, 0, 10, 10]), ("dog", [20, 0, 30, 10])]
    return {"image": features.image(loaded.seed), "question": TEXT, "word_boxes": words}, {}


def _seen(loaded: Loaded) -> Given:
    """An image with a text, which holds its place where the processor does not put it there."""
    config, image = loaded.model.config, features.image(loaded.seed)
    token = mark(loaded.processor, "image")
    ids = placeholders(config, ("image",)) if token else {}
    plain = {"text": [TEXT], "images": [image]}
    try:
        asked(loaded.processor, ids, (plain,), plain)
        place = ""
    except ValueError:
        place = between(config, loaded.processor, "image", token)
    wanted = TYPED in Facts(loaded.model).takes
    options = {"max_new_tokens": NEW, **(typed(loaded.processor) if wanted else {})}
    return {"images": image, "text": place + TEXT}, options


def _sound(loaded: Loaded) -> Given:
    rate = sampling_rate(loaded.processor)
    return {"raw": features.sound(rate, loaded.seed), "sampling_rate": rate}, _few(loaded)


def _spoken(loaded: Loaded) -> Given:
    return TEXT, _few(loaded)


def _few(loaded: Loaded) -> Mapping[str, object]:
    """Options of what makes 256 tokens by itself, for some."""
    return {"generate_kwargs": {"max_new_tokens": SPOKEN}} if loaded.model.can_generate() else {}


# By what a bundle must have. A pipeline without an entry is not tried: it wants a file of a video,
# or a table.
READ: Mapping[str, Sample] = {
    "text-generation": lambda loaded: (TEXT, {"max_new_tokens": NEW}),
    **dict.fromkeys(("text-classification", "token-classification", "feature-extraction"), _text),
    "fill-mask": _masked,
    "text-to-audio": _spoken,
}
SHOWN: Mapping[str, Sample] = {
    **dict.fromkeys(
        (
            *("image-classification", "object-detection", "image-segmentation"),
            *("depth-estimation", "image-feature-extraction"),
        ),
        _image,
    ),
    "mask-generation": lambda loaded: (_image(loaded)[0], {"points_per_crop": POINTS}),
    "keypoint-matching": lambda loaded: ([_image(loaded)[0]] * 2, {}),
    "audio-classification": lambda loaded: (_sound(loaded)[0], {}),
}
BOTH: Mapping[str, Sample] = {
    **dict.fromkeys(("zero-shot-image-classification", "zero-shot-object-detection"), _named),
    "document-question-answering": _asked,
    "automatic-speech-recognition": _sound,
}
# Of a processor with its tokenizer: a ViT's beside a GPT-2's captions an image in no pipeline.
WHOLE: Mapping[str, Sample] = {"image-text-to-text": _seen}
SAMPLES: Mapping[str, Sample] = {**READ, **SHOWN, **BOTH, **WHOLE}


def task(model: PreTrainedModel) -> str | None:
    """The pipeline that a model's class is for, of those that have a sample; None without one."""
    name, kind = type(model).__name__, model.config.model_type
    tasks = [one for one, names in heads.of_type(kind).items() if name in names]
    # A voice that is shown how to sound is among what hears, too (VibeVoice).
    own = VOICE if VOICE in tasks else next(iter(tasks), None)
    known = (own, *heads.TASKS[own].pipelines) if own is not None else ()
    if (fitting := next((pipeline for pipeline in known if pipeline in SAMPLES), None)) is not None:
        return fitting
    if name not in heads.base(kind) or HEAD in name:  # some types have nothing but a head
        return None
    wanted = {argument for argument in Facts(model).required() if argument not in PLAIN}
    base = {"text": "feature-extraction", "image": "image-feature-extraction"}
    return base.get(" ".join(modalities(model))) if not wanted and _begins(model) else None


def _begins(model: PreTrainedModel) -> bool:
    """Whether a decoder begins with what the encoder reads (BART's): a pipeline of features gives
    it nothing else to begin with."""
    import torch

    if "decoder_input_ids" not in Facts(model).takes:
        return True
    try:
        with torch.no_grad():
            model(input_ids=torch.ones((1, 2), dtype=torch.long))
    except ValueError:
        return False
    return True


def _vocoder(model: PreTrainedModel) -> PreTrainedModel:
    """What makes sound of a model's spectrograms: the pipeline would ask the Hub for one."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    mels = next(n for name, n in model.config.to_dict().items() if measures(name) == "mels")
    config = SpeechT5HifiGanConfig(
        model_in_dim=mels,
        upsample_initial_channel=WIDE,
        upsample_rates=[2],
        upsample_kernel_sizes=[4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
    )
    return SpeechT5HifiGan(config).eval()


def _fits(name: str, processor: Any) -> bool:
    """Whether a pipeline of images can use a whole processor (VideoPrism's takes videos alone)."""
    return "image" not in name.split("-") or getattr(processor, PARTS[0], None) is not None


def _reads_first(processor: Any) -> bool:
    """Whether a processor takes what is handed to it without a name for a text."""
    _, first, *_ = inspect.signature(type(processor).__call__).parameters
    return first == "text"


def run(name: str, loaded: Loaded) -> bool:
    """Whether a pipeline can be had of what is there; it then ran on its sample."""
    from transformers import pipeline

    lacks_text = loaded.tokenizer is None and name not in SHOWN
    whole = hasattr(loaded.processor, "tokenizer")
    if lacks_text or (loaded.processor is None and name not in READ):
        return False
    if name in WHOLE and not (whole and loaded.model.can_generate()):
        return False
    if whole and not _fits(name, loaded.processor):
        return False
    if name == "fill-mask" and getattr(loaded.tokenizer, "mask_token", None) is None:
        return False
    parts = {part: getattr(loaded.processor, part, None) for part in PARTS}
    for part in PARTS:
        if not whole and part.replace("_", "") in type(loaded.processor).__name__.lower():
            parts[part] = loaded.processor
    argument, options = SAMPLES[name](loaded)
    kind = loaded.model.config.model_type
    if type(loaded.model).__name__ in heads.of_type(kind).get("text-to-spectrogram", ()):
        parts["vocoder"] = _vocoder(loaded.model)
    processor = loaded.processor if whole else None
    made = pipeline(
        name, model=loaded.model, tokenizer=loaded.tokenizer, processor=processor, **parts
    )
    if name in READ and whole and not _reads_first(processor):
        made.processor = None  # it hands texts to it without a name (MusicGen Melody's hears them)
    refused: Exception | None = None
    for one, more in _ways(name, loaded, (argument, options)):
        try:
            made(one, **more)
            return True
        except Exception as error:  # noqa: BLE001 - a pipeline may raise anything
            refused = refused or error
    assert refused is not None
    raise refused


def _ways(name: str, loaded: Loaded, first: Given) -> Iterator[Given]:
    """What a pipeline is asked: its sample; then without a number of tokens, of which a class may
    take its own alone; then a text with what a voice begins with at its end (Pocket TTS); then with
    nothing that ends it before it has begun (VibeVoice's weights are random, and may say so)."""
    yield first
    if "generate_kwargs" in first[1]:
        yield SAMPLES[name](loaded)[0], {}  # a pipeline may empty what it is given
    start = spoken_from(loaded.model.config)
    if isinstance(first[0], str) and loaded.tokenizer is not None and start is not None:
        yield first[0] + str(loaded.tokenizer.convert_ids_to_tokens(start)), first[1]
        named = (getattr(loaded.model.config, f"{name}_token_id", None) for name in ENDS)
        ends = [number for number in named if isinstance(number, int)]
        few = {"max_new_tokens": SPOKEN, "suppress_tokens": [start, *ends]}
        yield first[0], {"generate_kwargs": few}
