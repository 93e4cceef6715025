"""What the Hub calls the task that a model class is for, in the front matter of a card."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tinybuild.config import heads

# The Hub's names, where transformers' table has another one for the task.
TAGS: Mapping[str, str] = {
    "multimodal-lm": "any-to-any",
    "speech-seq2seq": "automatic-speech-recognition",
    "text-to-spectrogram": "text-to-speech",
    "text-to-waveform": "text-to-speech",
    "seq2seq-lm": "text-generation",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
    "ctc": "automatic-speech-recognition",
    "rnnt": "automatic-speech-recognition",
    "tdt": "automatic-speech-recognition",
    "universal-segmentation": "image-segmentation",
    "instance-segmentation": "image-segmentation",
    "semantic-segmentation": "image-segmentation",
    "sequence-classification": "text-classification",
    "reward": "text-classification",
    "time-series-prediction": "time-series-forecasting",
    "text-encoding": "feature-extraction",
    "image-encoding": "image-feature-extraction",
}
# Those that have the same name there.
SAME = frozenset(
    (
        *("image-text-to-text", "audio-classification", "zero-shot-object-detection"),
        *("zero-shot-image-classification", "visual-question-answering", "object-detection"),
        *("image-segmentation", "mask-generation", "depth-estimation", "keypoint-detection"),
        *("image-to-image", "image-classification", "video-classification", "question-answering"),
        *("token-classification", "document-question-answering", "table-question-answering"),
    )
)
BASES: Mapping[str, str] = {"text": "feature-extraction", "image": "image-feature-extraction"}


def tag(name: str, model_type: str, modalities: Collection[str]) -> str:
    """The task of a model class of a type, by the Hub's name; "" where it has none for it."""
    for task, names in heads.of_type(model_type).items():
        if name in names and (task in TAGS or task in SAME):
            return TAGS.get(task, task)
    return BASES.get(" ".join(modalities), "") if name in heads.base(model_type) else ""
