"""Sound by rule: mel spectrograms, waveforms and codes, in the shapes in which models take them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts

BINS: tuple[str, ...] = (
    *("num_mel_bins", "num_mel_channels", "n_mels", "mel_bins"),
    *("num_mels", "input_feat_size", "feature_size", "input_dim"),
    *("num_chroma", "input_size", "model_in_dim", "input_channels"),
    *("feature_projection_input_dim", "spectrogram_bins"),
)
MASKS = ("input_features_mask", "feature_attention_mask", "audio_attention_mask", "padding_mask")
LENGTHS = (64, 128, 200, 256, 512, 1024, 3000)
FRAMES = 16  # of an encoder of waveforms
RATIOS: tuple[str, ...] = (
    *("conv_stride", "upsampling_ratios", "downsampling_ratios", "strides"),
    *("upsampling_rates", "encoder_ratios", "ratios", "stride"),
    *("downsampling_strides",),
)


def features(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Mel spectrograms under the argument `name`, with their masks, one a row."""
    import torch

    for length in lengths(facts):
        for width in bins(facts):
            for shape in shapes(facts, length, width):
                found: dict[str, Any] = {name: draw.normal(name, *shape)}
                if "decoder_input_values" in facts.takes:
                    found |= {"decoder_input_values": draw.normal("decoder", ROWS, 8, shape[-1])}
                masked = [mask for mask in MASKS if mask in facts.takes]
                for mask in masked:
                    found[mask] = torch.ones(ROWS, length, dtype=torch.bool)
                if "audio_mel_mask" in facts.takes:  # true where there is padding
                    found["audio_mel_mask"] = torch.zeros(ROWS, length, dtype=torch.bool)
                if "attention_mask" in facts.takes and "input_ids" not in facts.takes:
                    found["attention_mask"] = torch.ones(ROWS, length, dtype=torch.long)
                if "is_longer" in facts.takes:
                    found["is_longer"] = torch.zeros(ROWS, 1, dtype=torch.bool)
                if "audio_embed_sizes" in facts.takes:
                    rate = facts.integer("time_reduction", "nemo_conv_stride", default=8)
                    found["audio_embed_sizes"] = torch.tensor([-(-length // rate)] * ROWS)
                if "chunk_sample_lengths" in facts.takes:
                    found["chunk_sample_lengths"] = torch.tensor([length * 160] * ROWS)
                yield found
                if masked:
                    yield {**found, **{mask: found[mask].long() for mask in masked}}
                    yield {key: value for key, value in found.items() if key not in masked}
                elif "attention_mask" in found:
                    yield {key: value for key, value in found.items() if key != "attention_mask"}


def shapes(facts: Facts, length: int, width: int) -> list[tuple[int, ...]]:
    """Time first or bins first: as the first convolution has it."""
    first = next((m.in_channels for _, m in facts.modules("Conv1d", near="audio")), None)
    found: list[tuple[int, ...]] = [(ROWS, length, width), (ROWS, width, length)]
    if first == width:
        found.reverse()
    found.append((ROWS, 1, length, width))
    return found


def lengths(facts: Facts) -> list[int]:
    # Beside a waveform, a frame of each of its own.
    found = [FRAMES] if "input_values" in facts.takes else []
    for value in facts.every("max_source_positions", near="audio"):
        found += [2 * value] if isinstance(value, int) else []
    for value in facts.every("n_window", near="audio"):
        found += [4 * value, 2 * value] if isinstance(value, int) else []
    for value in facts.every("max_length", "spec_size", "chunk_size", "nb_max_frames"):
        found += [value] if isinstance(value, int) and 20 < value <= 3000 else []
    return list(dict.fromkeys([n for n in found if 0 < n <= 6000] + list(LENGTHS)))


def bins(facts: Facts) -> list[int]:
    found = []
    for value in facts.every(*BINS, near="audio"):
        found += [value] if isinstance(value, int) and 0 < value <= 1024 else []
    for _, module in facts.modules("Conv1d", near="audio"):
        found.append(module.in_channels)
        break
    found += subsampled(facts)
    for _, module in facts.modules("Linear", near="audio"):
        found.append(module.in_features)
        break
    found += [n for n in facts.every("hidden_size", "d_model") if isinstance(n, int)][:1]
    return list(dict.fromkeys([*found, 80, 128]))[:8]


def subsampled(facts: Facts) -> list[int]:
    """Bins by the layer that takes all channels of all the bins that convolutions have left."""
    convolutions = [m for name, m in facts.modules("Conv2d") if "audio" in name]
    linears = [m for name, m in facts.modules("Linear") if "audio" in name]
    if not convolutions or not linears:
        return []
    left = linears[0].in_features // convolutions[-1].out_channels
    return [left * math.prod(m.stride[-1] for m in convolutions)]


def waves(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Waveforms under the argument `name`, one a row."""
    import torch

    wide = facts.integer("audio_channels", default=1)
    for length in samples(facts):
        for shape in ((ROWS, length), (ROWS, wide, length)):
            found: dict[str, Any] = {name: draw.normal(name, *shape)}
            if "decoder_input_values" in facts.takes:
                found |= next(targets(facts, draw, "decoder_input_values"))
            if "input_values_cutoffs" in facts.takes:  # the end of each sound in a row
                found["input_values_cutoffs"] = torch.tensor([[length]] * ROWS)
            for mask in ("padding_mask", "input_values_mask"):
                if mask in facts.takes:
                    found[mask] = torch.ones(ROWS, length, dtype=torch.bool)
            if "attention_mask" in facts.takes and "input_ids" not in facts.takes:
                found["attention_mask"] = torch.ones(ROWS, length, dtype=torch.long)
            yield found
            for mask in ("padding_mask", "input_values_mask", "attention_mask"):
                if mask in found:
                    yield {**found, mask: torch.ones(shape, dtype=torch.long)}
                    yield {key: value for key, value in found.items() if key != mask}
    yield from features(facts, draw, name)  # some call a spectrogram so


def targets(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Spectrograms that a decoder of speech goes on from: (rows, frames, bins)."""
    for width in bins(facts):
        yield {name: draw.normal(name, ROWS, 8, width)}


def samples(facts: Facts) -> list[int]:
    """Numbers of samples that give FRAMES frames, by the strides of the config."""
    found = []
    for value in facts.every(*RATIOS, "hop_length", near="audio"):
        if isinstance(value, int):
            found.append(FRAMES * value)
        elif isinstance(value, list | tuple) and all(isinstance(n, int) for n in value):
            found.append(FRAMES * math.prod(value))
    found = [n for n in dict.fromkeys(found) if 400 <= n <= 200_000]
    return list(dict.fromkeys([*found, 1600, 4000, 16000, 48000]))


def codes(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Codes of an audio codec under the argument `name`: a row of each codebook."""
    import torch

    size = facts.integer("codebook_size", "audio_vocab_size", "vocab_size", near="audio", default=8)
    books = [
        n
        for n in facts.every(
            "num_codebooks", "num_quantizers", "n_codebooks", "audio_num_codebooks"
        )
        if isinstance(n, int)
    ]
    for count in [*books[:2], 1]:
        for shape in ((ROWS, 4, count), (ROWS, count, 4)):
            yield {
                name: draw.whole(name, 0, size, *shape),
                "audio_input_ids_mask": torch.ones(ROWS, 4, dtype=torch.long),
            }
