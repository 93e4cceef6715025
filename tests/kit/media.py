"""Pictures and sounds of every format, made and read."""

from __future__ import annotations

import io
from typing import Any

import numpy
import PIL.Image
import soundfile


def picture(mode: str, size: tuple[int, int]) -> PIL.Image.Image:
    """A picture with a red corner, a gradient, and something transparent where the mode can."""
    width, height = size
    made = PIL.Image.new("RGBA", size, (0, 0, 255, 255))
    for x in range(width):
        for y in range(height):
            if x < width // 2 and y < height // 2:
                made.putpixel((x, y), (255, 0, 0, 255))
            elif x >= width // 2 and y >= height // 2:
                made.putpixel((x, y), (0, 255 * y // height, 0, 0 if "A" in mode else 255))
    if mode in ("I;16", "I", "F"):
        data = numpy.arange(width * height).reshape(height, width) * 20
        dtype = {"I;16": "uint16", "I": "int32", "F": "float32"}[mode]
        return PIL.Image.fromarray(data.astype(dtype))
    if mode == "P":
        made = made.convert("RGB").quantize(16)
        made.info["transparency"] = 0
        return made
    return made.convert(mode)


def encoded(made: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    made.save(written, format=kind, **options)
    return written.getvalue()


def opened(data: bytes) -> PIL.Image.Image:
    found = PIL.Image.open(io.BytesIO(data))
    found.load()
    return found


def image(size: tuple[int, int] = (4, 3), kind: str = "PNG", colour: str = "red") -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def wave(
    rate: int, seconds: float, kind: str = "WAV", channels: int = 1, hertz: float = 440
) -> bytes:
    """A tone as a file. kind: "WAV", or "WAV/PCM_24" with a subtype."""
    kind, _, subtype = kind.partition("/")
    time = numpy.arange(int(rate * seconds)) / rate
    samples = 0.5 * numpy.sin(2 * numpy.pi * hertz * time)
    written = io.BytesIO()
    both = numpy.stack([samples * (1 - 0.5 * c) for c in range(channels)], axis=1)
    soundfile.write(written, both, rate, format=kind, subtype=subtype or None)
    return written.getvalue()


def heard(data: bytes) -> tuple[Any, int, str, str]:
    with soundfile.SoundFile(io.BytesIO(data)) as found:
        return found.read(always_2d=True), found.samplerate, found.format, found.subtype


def sound(kind: str = "WAV", samples: int = 800) -> bytes:
    import numpy as np
    import soundfile

    out = io.BytesIO()
    tone = np.sin(np.arange(samples) / 5).astype("float32") / 2
    soundfile.write(out, tone, 8000, format=kind)
    return out.getvalue()
