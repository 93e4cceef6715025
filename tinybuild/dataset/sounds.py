"""One sound file made small: its beginning, at a lower rate, as WAV or FLAC of 16 bits."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING

from tinybuild.dataset.archives import reason
from tinybuild.errors import require
from tinybuild.features import Wrong

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from soundfile import SoundFile

    Samples = NDArray[numpy.int16 | numpy.float32]

# libsndfile's name of a format -> the suffix that says it.
SUFFIXES = {
    **{"WAV": "wav", "WAVEX": "wav", "FLAC": "flac", "OGG": "ogg", "MP3": "mp3", "MPEG": "mp3"},
    **{"AIFF": "aiff", "AU": "au", "CAF": "caf", "W64": "w64", "RF64": "rf64"},
}
KNOWN_SUFFIXES = frozenset((*SUFFIXES.values(), "opus", "aif", "oga"))  # that libsndfile reads
OTHER_SUFFIXES = frozenset(("m4a", "aac", "wma", "amr", "webm"))  # of sounds that it does not read
# A sound of so many samples takes 512 MB while it is resampled: 50 minutes of 44,100 Hz.
MAX_SAMPLES = 1 << 27
KEY = ("dataset",)  # where the recipe asks for what a missing package does
BLOCK = 1 << 16  # frames that are decoded at once


def sound(
    data: bytes, max_seconds: float | None, sampling_rate: int | None
) -> tuple[bytes, str] | None:
    """A sound file of at most so many seconds from the start and samples a second, and WAV or FLAC;
    None where the file may stay as it is (no longer, and no higher rate).

    Channels are kept. FLAC stays FLAC, all else becomes WAV; both of 16 bits. What comes after the
    seconds kept is not decoded. Raises Wrong for what cannot be decoded, or has more samples than
    MAX_SAMPLES; PackageFault.
    """
    require("a sound", "soundfile", KEY)
    import numpy
    import soundfile

    _whole(data)
    try:
        with soundfile.SoundFile(_Bytes(data)) as opened:
            rate = opened.samplerate
            # 0.7 seconds of 100 a second are 69.999... in binary.
            kept = None if max_seconds is None else max(1, math.floor(max_seconds * rate + 1e-6))
            samples = _decoded(opened, kept)
            container = "FLAC" if opened.format == "FLAC" else "WAV"
    except soundfile.SoundFileError as error:
        # "Error opening <_io.BytesIO object at 0x7f...>: File contains data in ..."
        raise Wrong(f"cannot be read: {reason(error).rpartition('>: ')[2]}") from None
    longer = kept is not None and len(samples) > kept
    lower = rate if sampling_rate is None else min(rate, sampling_rate)
    if not longer and lower == rate:
        return None
    samples = samples[:kept]
    if lower < rate:
        samples = _resampled(samples, rate, lower)
    if samples.dtype != numpy.int16:
        samples = numpy.clip(numpy.rint(samples * 32768.0), -32768, 32767).astype(numpy.int16)
    written = io.BytesIO()
    soundfile.write(written, samples, lower, format=container, subtype="PCM_16")
    return written.getvalue(), container


def _decoded(opened: SoundFile, kept: int | None) -> Samples:
    """The first `kept` frames (None: all) and one more where there is one: frames x channels.

    Samples of 16 bits stay exactly what they are; others are fractions of 1. Raises Wrong for more
    than MAX_SAMPLES, and for a file that ends before the frames do that it says it has.
    """
    import numpy

    dtype = "int16" if opened.subtype == "PCM_16" else "float32"
    most = MAX_SAMPLES // opened.channels
    # One more than is wanted, or may be, tells that there is more.
    wanted = most + 1 if kept is None else min(kept, most) + 1
    blocks: list[Samples] = []
    count = 0
    while count < wanted:
        ahead = min(BLOCK, wanted - count)
        blocks.append(opened.read(ahead, dtype=dtype, always_2d=True))
        count += len(blocks[-1])
        if len(blocks[-1]) < ahead:
            break
    if count > most and (kept is None or kept > most):
        raise Wrong(f"has more than {MAX_SAMPLES:,} samples; give audio.max_seconds")
    # A stream that does not say how long it is has the greatest number there is.
    said = opened.frames if opened.frames < 1 << 62 else count
    if count < (said if kept is None else min(said, kept)):
        raise Wrong(f"is cut off: {count:,} of its {opened.frames:,} samples are there")
    return numpy.concatenate(blocks)


def _resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    require("a sound of a lower rate", "soxr", KEY)
    import numpy
    import soxr

    if samples.dtype == numpy.int16:
        samples = samples / numpy.float32(32768)
    # Of less than half a sample it leaves none.
    made: Samples = soxr.resample(samples, rate, wanted, quality="HQ")
    return made if len(made) else samples[:1]


class _Bytes(io.BytesIO):
    """A file whose reader, misled by what it read, may seek to before the beginning."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


# (start of the file, its form) -> how a chunk's head is packed, and the name of the samples' chunk.
CHUNKS = {
    (b"RIFF", b"WAVE"): ("<4sI", b"data"),
    (b"FORM", b"AIFF"): (">4sI", b"SSND"),
    (b"FORM", b"AIFC"): (">4sI", b"SSND"),
}
UNSAID = 0x7FFFFF00  # from this size on: what a writer leaves that cannot go back


def _whole(data: bytes) -> None:
    """Raises Wrong for a WAV, AIFF or Ogg file that ends before its samples do: libsndfile reads
    what is there, or nothing, and says nothing."""
    if data[:4] == b"OggS":
        page = data.rfind(b"OggS")  # its head, the sizes of its segments, and these
        head = data[page : page + 27]
        sizes = data[page + 27 : page + 27 + head[26]] if len(head) == 27 else b""
        if len(head) < 27 or len(sizes) < head[26] or page + 27 + head[26] + sum(sizes) > len(data):
            raise Wrong("is cut off in its last page")
    head_format, samples = CHUNKS.get((data[:4], data[8:12]), ("", b""))
    start = 12
    while head_format and start + 8 <= len(data):
        name, size = struct.unpack_from(head_format, data, start)
        start += 8
        if name == samples:
            there = len(data) - start
            if there < size < UNSAID:
                raise Wrong(f"is cut off: {there:,} of its {size:,} bytes are there")
            return
        start += size + size % 2


def suffix(data: bytes) -> str | None:
    """The suffix of a sound's format; None for a format that is not known here."""
    require("a sound", "soundfile", KEY)
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as opened:
            return SUFFIXES.get(str(opened.format))
    except soundfile.SoundFileError:
        return None
