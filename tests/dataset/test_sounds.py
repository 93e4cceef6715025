"""A sound is cut and resampled from every format, and a damaged one is refused."""

from __future__ import annotations

import contextlib
import io
import random
import struct
from typing import Any

import numpy
import pytest
import soundfile
from kit.media import heard, wave

from tinybuild.dataset import sounds
from tinybuild.dataset.sounds import sound
from tinybuild.features import Wrong

SOUNDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
]


@pytest.mark.parametrize(("kind", "subtype"), SOUNDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_cut_and_resampled(kind: str, subtype: str, channels: int) -> None:
    data = wave(16_000, 2, f"{kind}/{subtype}", channels)
    before = heard(data)[0]
    found = sound(data, 0.5, 8000)
    assert found is not None
    assert sound(data, 0.5, 8000) == found
    samples, rate, new_kind, new_subtype = heard(found[0])
    want = "FLAC" if kind == "FLAC" else "WAV"
    assert (found[1], new_kind, new_subtype) == (want, want, "PCM_16")
    assert rate == 8000
    assert samples.shape == (4000, channels)
    # The same tone at the same loudness: every other sample, away from the ends.
    assert numpy.abs(samples[100:3900] - before[200:7800:2]).max() < 0.02

    cut_only = sound(data, 0.5, None)
    assert cut_only is not None
    samples, rate, _, _ = heard(cut_only[0])
    assert (rate, samples.shape) == (16_000, (8000, channels))
    if subtype == "PCM_16":
        assert (samples == before[:8000]).all()
    assert numpy.abs(samples - before[:8000]).max() <= 1 / 32768
    assert sound(data, 3, 16_000) is None
    assert sound(data, 3, 48_000) is None
    assert sound(data, None, 16_000) is None


def test_a_high_tone_does_not_come_back_as_a_low_one() -> None:
    found = sound(wave(16_000, 1, hertz=6000), None, 8000)
    assert found is not None
    assert numpy.abs(heard(found[0])[0][200:-200]).max() < 0.001


def test_a_sound_of_one_sample_keeps_it() -> None:
    found = sound(wave(44_100, 1 / 44_100), 1, 8000)
    assert found is not None
    assert heard(found[0])[0].shape == (1, 1)


def test_loud_sounds_are_clipped_not_wrapped() -> None:
    written = io.BytesIO()
    soundfile.write(written, numpy.full(2000, 1.7), 8000, format="WAV", subtype="FLOAT")
    found = sound(written.getvalue(), 0.1, None)
    assert found is not None
    assert heard(found[0])[0].min() > 0.99


def test_seconds_are_not_cut_short_by_binary_fractions() -> None:
    found = sound(wave(100, 2, hertz=1), 0.7, None)
    assert found is not None
    assert heard(found[0])[0].shape == (70, 1)


def test_a_cut_where_a_block_ends() -> None:
    found = sound(wave(sounds.BLOCK, 2), 1, None)
    assert found is not None
    assert heard(found[0])[0].shape == (sounds.BLOCK, 1)


def test_one_sample_is_kept() -> None:
    found = sound(wave(8000, 1), 1e-9, None)
    assert found is not None
    assert heard(found[0])[0].shape == (1, 1)


def test_the_rest_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = soundfile.SoundFile.read

    def counted(self: Any, frames: int = -1, *rest: Any, **more: Any) -> Any:
        read.append(frames)
        return real(self, frames, *rest, **more)

    data = wave(16_000, 30)
    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    assert sound(data, 1, None) is not None
    assert 0 < sum(read) <= 16_001


def test_a_sound_whose_length_is_not_said() -> None:
    """As a program writes it that cannot go back to its header."""
    data = bytearray(wave(8000, 1))
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, 40, 0xFFFFFFFF)
    found = sound(bytes(data), 0.5, None)
    assert found is not None
    assert heard(found[0])[0].shape == (4000, 1)


def test_a_bomb_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "MAX_SAMPLES", 100_000)
    data = wave(16_000, 10, "FLAC", hertz=0)
    with pytest.raises(Wrong, match=r"more than 100,000 samples; give audio\.max_seconds"):
        sound(data, None, 8000)
    assert sound(data, 1, 8000) is not None
    with pytest.raises(Wrong, match="more than 100,000 samples"):
        sound(wave(16_000, 4, channels=2), None, 8000)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_damaged_sounds_are_read_or_refused(kind: str) -> None:
    whole = wave(16_000, 0.3, kind)
    chooser = random.Random(kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chooser.randint(1, 8)):
            data[chooser.randrange(min(len(data), 400))] = chooser.randrange(256)
        with contextlib.suppress(Wrong):
            sound(bytes(data), 0.1, 8000)
