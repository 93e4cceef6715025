"""Sound by rule: mel spectrograms, waveforms and codes, in the shapes in which models take them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs.draw import ROWS, Draw, each, ones, yes
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.keys import NAMES
from tinybuild.paths import whole, wholes

MASKS = ("input_features_mask", "feature_attention_mask", "audio_attention_mask", "padding_mask")
WAVE_MASKS = ("padding_mask", "input_values_mask")
LENGTHS = (64, 128, 200, 256, 512, 1024, 3000)
FRAMES = 16  # of an encoder of waveforms


def features(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Mel spectrograms under the argument `name`, with their masks, one a row."""
    masks = [mask for mask in MASKS if mask in facts.takes]
    for length in lengths(facts):
        for width in bins(facts):
            for shape in shapes(facts, length, width):
                given = {name: draw.normal(name, *shape)}
                if "decoder_input_values" in facts.takes:
                    given["decoder_input_values"] = draw.normal("decoder", ROWS, 8, shape[-1])
                given |= {mask: yes(ROWS, length) for mask in masks}
                given |= _heard(facts, length)
                yield given
                if masks:
                    yield {**given, **{mask: given[mask].long() for mask in masks}}
                    yield {key: value for key, value in given.items() if key not in masks}
                elif "attention_mask" in given:
                    yield {key: value for key, value in given.items() if key != "attention_mask"}


def _heard(facts: Facts, length: int) -> dict[str, Tensor]:
    """What goes with spectrograms of so many frames, of what forward takes."""
    rate = facts.integer("time_reduction", "nemo_conv_stride", default=8)
    given = {
        "audio_mel_mask": ~yes(ROWS, length),  # true where there is padding
        "attention_mask": ones(ROWS, length),
        "is_longer": ~yes(ROWS, 1),
        "audio_embed_sizes": each(-(-length // rate)),
        "chunk_sample_lengths": each(length * 160),
    }
    if "input_ids" in facts.takes:
        del given["attention_mask"]  # it is the text's
    return {key: value for key, value in given.items() if key in facts.takes}


def shapes(facts: Facts, length: int, width: int) -> list[tuple[int, ...]]:
    """Time first or bins first: as the first convolution has it."""
    first = next((m.in_channels for _, m in facts.modules("Conv1d", near="audio")), None)
    flat: list[tuple[int, ...]] = [(ROWS, length, width), (ROWS, width, length)]
    return [*(flat[::-1] if first == width else flat), (ROWS, 1, length, width)]


def lengths(facts: Facts) -> list[int]:
    # Beside a waveform, a frame of each of its own.
    frames = [FRAMES] if "input_values" in facts.takes else []
    frames += [2 * value for value in facts.numbers("max_source_positions", near="audio")]
    for value in facts.numbers("n_window", near="audio"):
        frames += [4 * value, 2 * value]
    windows = facts.numbers("max_length", "spec_size", "chunk_size", "nb_max_frames")
    frames += [value for value in windows if 20 < value <= 3000]
    return list(dict.fromkeys([n for n in frames if 0 < n <= 6000] + list(LENGTHS)))


def bins(facts: Facts) -> list[int]:
    widths = [n for n in facts.numbers(*NAMES["mel bins"], near="audio") if 0 < n <= 1024]
    widths += [m.in_channels for _, m in facts.modules("Conv1d", near="audio")][:1]
    widths += subsampled(facts)
    widths += [m.in_features for _, m in facts.modules("Linear", near="audio")][:1]
    widths += list(facts.numbers("hidden_size", "d_model"))[:1]
    return list(dict.fromkeys([*widths, 80, 128]))[:8]


def subsampled(facts: Facts) -> list[int]:
    """Bins by the layer that takes all channels of all the bins that convolutions have left."""
    convolutions = [m for name, m in facts.modules("Conv2d") if "audio" in name]
    linears = [m for name, m in facts.modules("Linear") if "audio" in name]
    if not convolutions or not linears:
        return []
    left = linears[0].in_features // convolutions[-1].out_channels
    return [left * math.prod(m.stride[-1] for m in convolutions)]


def waves(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Waveforms under the argument `name`, one a row."""
    wide = facts.integer("audio_channels", default=1)
    for length in samples(facts):
        for shape in ((ROWS, length), (ROWS, wide, length)):
            given = {name: draw.normal(name, *shape)}
            if "decoder_input_values" in facts.takes:
                given |= next(targets(facts, draw, "decoder_input_values"))
            if "input_values_cutoffs" in facts.takes:
                # The end of each sound in a row, padded after it. (As many frames in all as a frame
                # has codes, CSM's class takes for rows of codes.)
                given["input_values_cutoffs"] = each([length * 3 // 4])
            given |= {mask: yes(ROWS, length) for mask in WAVE_MASKS if mask in facts.takes}
            if "attention_mask" in facts.takes and "input_ids" not in facts.takes:
                given["attention_mask"] = ones(ROWS, length)
            yield given
            for mask in (*WAVE_MASKS, "attention_mask"):
                if mask in given:
                    yield {**given, mask: ones(*shape)}
                    yield {key: value for key, value in given.items() if key != mask}
    yield from features(facts, draw, name)  # some call a spectrogram so


def targets(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Spectrograms that a decoder of speech goes on from: (rows, frames, bins)."""
    for width in bins(facts):
        yield {name: draw.normal(name, ROWS, 8, width)}


def samples(facts: Facts) -> list[int]:
    """Numbers of samples that give FRAMES frames, by the strides of the config."""
    named = facts.every(*NAMES["strides"], "hop_length", near="audio")
    lists = [[value] if whole(value) else value for value in named]
    strides = [math.prod(value) for value in lists if wholes(value)]
    counts = [FRAMES * stride for stride in strides if 400 <= FRAMES * stride <= 200_000]
    return list(dict.fromkeys([*counts, 1600, 4000, 16000, 48000]))


def codes(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Codes of an audio codec under the argument `name`: a row of each codebook."""
    size = facts.integer("codebook_size", "audio_vocab_size", "vocab_size", near="audio", default=8)
    for count in [*list(facts.numbers(*NAMES["codebooks"]))[:2], 1]:
        for shape in ((ROWS, 4, count), (ROWS, count, 4)):
            yield {name: draw.whole(name, 0, size, *shape), "audio_input_ids_mask": ones(ROWS, 4)}
