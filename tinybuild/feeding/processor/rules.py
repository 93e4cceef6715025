"""Rules that bring a processor's settings in line with a smaller config, over their JSON tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tinybuild.feeding.processor.geometry import (
    AUDIO,
    FRAMES,
    MELS,
    PATCHES,
    SUBSAMPLED,
    VISION,
    Geometry,
    find,
    pair,
    product,
)

# A setting of a processor -> the keys of the config that say the same.
TIES: Mapping[str, tuple[str, ...]] = {
    "merge_size": ("spatial_merge_size", "merge_size"),
    "spatial_merge_size": ("spatial_merge_size", "merge_size"),
    "temporal_patch_size": ("temporal_patch_size",),
    "downsample_factor": ("downsample_factor",),
    "downsample_ratio": ("downsample_ratio",),
    "pixel_shuffle_ratio": ("pixel_shuffle_ratio",),
    "pooling_ratio": ("projector_pooling_ratio", "pooling_ratio"),
    "pooling_kernel_size": ("pooling_kernel_size",),
    "image_grid_pinpoints": ("image_grid_pinpoints",),
    "vision_feature_select_strategy": ("vision_feature_select_strategy",),
    "vision_aspect_ratio": ("vision_aspect_ratio",),
    "num_query_tokens": ("num_query_tokens",),
    "num_channels": ("num_channels",),
    "image_num_channels": ("num_channels",),
    "max_state_dim": ("max_state_dim",),
    "chunk_size": ("chunk_size",),
    "image_seq_length": ("mm_tokens_per_image", "vision_soft_tokens_per_image", "image_seq_length"),
    "audio_seq_length": ("audio_soft_tokens_per_image",),
    "num_prompts": ("num_prompts",),
    "n_window": ("n_window",),
    "audio_compression_rate": ("audio_compression_rate",),
    "audio_samples_per_token": ("audio_embed_dim",),  # of a sound as it is, without a spectrogram
}
# Lengths in pixels: {height, width}, {shortest_edge ...}, a number, or lists of these.
PIXELS = frozenset(
    (
        *("size", "crop_size", "image_size", "img_size", "min_image_size", "max_image_size"),
        *("tile_size", "pad_size", "limit_side_len", "max_side_limit", "max_image_width"),
        *("resize_short", "scale_resolution", "split_resolutions", "image_grid_pinpoints"),
        *("maximum_pad_value", "mask_size", "mask_pad_size"),
    )
)
# A backbone that is cut in so many windows a side takes images of its own shape only, and so do
# stages that are doubled and put together.
WINDOWS = ("num_windows_side", "encoder_projection_indices")
SIDED = ("height", "width")
FREE = frozenset(("mask_size", "mask_pad_size"))  # no multiples of a patch
FUSED = {True: "fusion", False: "rand_trunc"}  # four views of a long sound, or one cut of it
BUDGETS = ("max_patches", "max_num_patches", "min_num_patches", "video_target_num_patches")
MANY = 100_000  # from here a longest_edge is a number of pixels in all, not along an edge
LEAST, MOST = 4, 16  # tokens of an image where a processor chooses its size
FRAMES_MORE = 4  # times as many in a video
SECONDS = 30  # of sound in a window of fixed length, at most

Node = dict[str, Any]


def shrink(
    data: Mapping[str, Any], source: Mapping[str, Any], tiny: Mapping[str, Any]
) -> dict[str, Any]:
    """A processor file (JSON data) in line with the tiny config; `source` is the config before.

    Both configs are JSON trees. What no rule knows stays as it is.
    """
    return _shrunk(data, source, tiny, "")


def _shrunk(
    data: Mapping[str, Any], source: Mapping[str, Any], tiny: Mapping[str, Any], path: str
) -> Node:
    made: Node = {}
    for name, value in data.items():
        inner = isinstance(value, Mapping) and (name.endswith(("processor", "extractor")))
        made[name] = _shrunk(value, source, tiny, name) if inner else value
    made.pop("auto_map", None)  # it leads to code that is not here
    tied = _ties(made, source, tiny)
    for prefix in ("", *_prefixes(made)):
        _image(made, source, tiny, prefix, tied, "video" in path or "video_processor_type" in made)
    _sound(made, source, tiny)
    return made


def _ties(made: Node, source: Mapping[str, Any], tiny: Mapping[str, Any]) -> set[str]:
    """Settings that the config has too: by a known name, or the same name with the same value.

    Returns which were found.
    """
    tied = set()
    for name, value in made.items():
        kind = AUDIO if "feature_extractor_type" in made or "audio" in name else VISION
        if name in PATCHES:
            patch = Geometry.of(tiny).patch
            if patch is not None:
                made[name] = _like(value, patch)
                tied.add(name)
        elif name in TIES:
            found = find(tiny, TIES[name], kind)
            if found is None and name == "temporal_patch_size":
                found = 1  # patches of a config that does not speak of frames are of one
            if found is not None and not isinstance(found, Mapping):
                made[name] = found
                tied.add(name)
        elif name in PIXELS or type(value) not in (int, float) or value <= 1:
            continue
        elif find(source, (name,), kind) == value:
            found = find(tiny, (name,), kind)
            made[name] = value if found is None else found
            tied.add(name)
    return tied


def _like(value: Any, size: tuple[int, int]) -> Any:
    """A size in the shape that a value has: a pair, a mapping, or else a number."""
    if isinstance(value, Mapping):
        return {**value, "height": size[0], "width": size[1]}
    return list(size) if isinstance(value, list) else size[0]


def _prefixes(made: Mapping[str, Any]) -> list[str]:
    """Prefixes of a second set of images: high_res_ of high_res_image_mean."""
    sizes = (name.removesuffix("size") for name in made if name.endswith("_size"))
    return sorted(p for p in sizes if p and f"{p}image_mean" in made)


def _image(
    made: Node,
    source: Mapping[str, Any],
    tiny: Mapping[str, Any],
    prefix: str,
    tied: set[str],
    video: bool,
) -> None:
    """Sizes in pixels: those of one image are the config's, all others keep their ratio to it."""
    now = _half(made, Geometry.of(source, prefix), Geometry.of(tiny, prefix))
    first = _first(made, prefix)
    if first is None:
        return
    edges = made.get("size")
    free = isinstance(edges, Mapping) and "shortest_edge" in edges and "crop_size" not in made
    if free and now.fixed and find(tiny, WINDOWS, VISION) is not None:
        made["size"] = dict(zip(SIDED, now.side, strict=True))
        tied = tied | {"size"}
    known = {name for name in made if name.startswith(prefix) and name[len(prefix) :] in PIXELS}
    for name in sorted(known - tied):
        made[name] = _scaled(made[name], first, now, name[len(prefix) :], video)
    if prefix:
        return
    for name in ("min_pixels", "max_pixels"):
        if isinstance(made.get(name), int):
            made[name] = _area(now, name == "max_pixels", video)
    for name in BUDGETS:
        if isinstance(made.get(name), int) and made[name] >= MOST * MOST:
            made[name] = LEAST * LEAST if name.startswith("min") else 4 * MOST
    if isinstance(made.get("size_divisor"), int) and now.patch is None:
        made["size_divisor"] = min(made["size_divisor"], now.unit)


def _half(made: Node, was: Geometry, now: Geometry) -> Geometry:
    """The geometry of one image where the config's is that of two, one above the other (SegGPT)."""
    size = made.get("size")
    if was.fixed and was.side[0] == 2 * was.side[1] and pair(size) == (was.side[1],) * 2:
        return replace(now, side=(now.side[0] // 2, now.side[1]))
    return now


def _first(made: Mapping[str, Any], prefix: str) -> int | None:
    """The height of one image as the model gets it, in pixels; 0 where it is chosen by area.

    What it is cropped to, else the tile that it is cut in, else its size.
    """
    names = ["max_image_size", "tile_size", "scale_resolution", "pad_size", "size"]
    names += ["image_size", "img_size"]
    if made.get(f"{prefix}do_center_crop") or made.get(f"{prefix}do_crop"):
        names.insert(0, "crop_size")
    for name in names:
        value = made.get(prefix + name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, Mapping):
            edges = ("height", "shortest_edge", "longest_edge", "max_height", "max_pixels")
            if any((value.get(edge) or 0) >= MANY for edge in value):
                return 0
            for edge in edges:
                if isinstance(value.get(edge), int):
                    return int(value[edge])
    found = any(name in made for name in ("min_pixels", "max_pixels", *BUDGETS, "size_divisor"))
    return 0 if found else None


def _scaled(value: Any, first: int, now: Geometry, name: str, video: bool) -> Any:
    """A length in pixels, of any shape, in its old ratio to the first image's height."""

    def length(old: int, axis: int = 0) -> int:
        if first <= 0:
            return now.side[axis]
        if old == first:
            return now.side[axis]
        new = now.side[axis] * old / first
        step = 1 if name in FREE else now.unit
        return max(step, round(new / step) * step)

    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return length(value)
    if isinstance(value, list):
        return [_scaled(item, first, now, name, video) for item in value]
    if not isinstance(value, Mapping):
        return value
    made = dict(value)
    if any(isinstance(edge, int) and edge >= MANY for edge in made.values()):
        return {edge: _area(now, edge in ("longest_edge", "max_pixels"), video) for edge in made}
    whole = now.fixed and first in value.values()  # the config's own, whatever its shape
    for edge, old in value.items():
        axis = int(edge in ("width", "max_width") and now.fixed)
        if isinstance(old, int):
            made[edge] = now.side[axis] if whole and edge in SIDED else length(old, axis)
    return made


def _area(now: Geometry, most: bool, video: bool) -> int:
    """Pixels of an image of LEAST or MOST tokens."""
    return now.unit**2 * (MOST if most else LEAST) * (FRAMES_MORE if video and most else 1)


def _sound(made: Node, source: Mapping[str, Any], tiny: Mapping[str, Any]) -> None:
    """Mel bins, and the window of fixed length (30 s for Whisper) for the positions there are."""
    for name in ("feature_size", "num_mel_bins"):
        old = made.get(name)
        if isinstance(old, int) and old > 1:
            bins = _mels(old, source, tiny, made.get("stride", 1))
            if bins is not None:
                made[name] = bins
    rate = made.get("sampling_rate")
    hop = product(tiny, AUDIO)
    if hop is not None and product(source, AUDIO) == made.get("hop_length"):
        made["hop_length"] = hop
    fused = find(tiny, ("enable_fusion",), AUDIO)
    if made.get("truncation") in FUSED.values() and fused is not None:
        made["truncation"] = FUSED[bool(fused)]
    width = find(tiny, ("spec_size",), AUDIO)
    if isinstance(rate, int) and isinstance(width, int) and "max_length_s" in made:
        # A spectrogram is folded into a square of so many columns a row (CLAP).
        columns = width * (width // made["feature_size"])
        made["max_length_s"] = 1
        made["hop_length"] = -(-rate // max(1, columns - 1))
        made["nb_max_samples"] = rate
    if isinstance(rate, int) and "nb_max_frames" in made and "chunk_length" in made:
        before, after = find(source, FRAMES, AUDIO), find(tiny, FRAMES, AUDIO)
        if isinstance(before, int) and isinstance(after, int):
            per = max(1, round(made["nb_max_frames"] / before))
            frames = per * after
            for seconds in range(1, SECONDS + 1):  # the first that is cut in as many frames exactly
                hop = max(1, seconds * rate // frames)
                if seconds * rate // hop == frames:
                    made["chunk_length"], made["hop_length"] = seconds, hop
                    made["n_samples"], made["nb_max_frames"] = seconds * rate, frames
                    break


def _mels(old: int, source: Mapping[str, Any], tiny: Mapping[str, Any], stride: int) -> int | None:
    """The mel bins of the tiny config under the name that has `old` in the source's.

    (`stride` frames may be laid side by side: SeamlessM4T takes 160 = 2 x 80.)
    """
    for name in MELS:
        before, after = (_bins(find(tree, (name,), AUDIO)) for tree in (source, tiny))
        if after is None:
            continue
        if before == old:
            return after
        if before == old * stride and stride > 1 and after % stride == 0:
            return after // stride
    for name in (*MELS[:5], SUBSAMPLED):
        after = _bins(find(tiny, (name,), AUDIO))
        if after is not None:
            return after
    return None


def _bins(value: Any) -> int | None:
    """A number of mel bins as configs write it: Gemma's subsampling has as many channels at its
    start as there are bins."""
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, int) and not isinstance(value, bool) else None
