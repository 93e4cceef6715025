"""Rules that bring a processor's settings in line with a smaller config, over their JSON tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from tinybuild.feeding.processor import abroad, parts
from tinybuild.feeding.processor.geometry import Geometry, find, pair, strides
from tinybuild.keys import MEL_BINS, NAMES
from tinybuild.paths import Data, Json, whole, wholes

# A backbone that is cut in so many windows a side takes images of its own shape only, and so do
# stages that are doubled and put together.
WINDOWS = ("num_windows_side", "num_windows", "encoder_projection_indices")
AXES = ("height", "width")
FUSED = {True: "fusion", False: "rand_trunc"}  # four views of a long sound, or one cut of it
MANY = 100_000  # from here a longest_edge is a number of pixels in all, not along an edge
LEAST, MOST = 4, 16  # tokens of an image where a processor chooses its size
SOFT = 70  # tokens of an image: the fewest that the classes with max_soft_tokens take
FRAMES_MORE = 4  # times as many in a video
FRAMES = 8  # of a video
STEM = "subsampling_conv_channels"  # Gemma's has as many at its start as there are mel bins
SECONDS = 30  # of sound in a window of fixed length, at most
# What one image is, as the model gets it: the first of these.
ONE: tuple[str, ...] = (
    *("max_image_size", "tile_size", "scale_resolution", "pad_size"),
    *("size", "image_size", "img_size"),
)
HALVED = "downsampler_stride"  # of what the tower does to patches, where a processor counts them
OF_TOWER = "vision_patch_size"  # a patch, where a processor calls a part of an image patch_size
EDGES = ("height", "shortest_edge", "longest_edge", "max_height", "max_pixels")


@dataclass(frozen=True, kw_only=True)
class View:
    """What the settings of one mapping follow.

    data: the mapping; source and tiny: the configs before and after, as JSON trees. first: the
    height of one image as the model got it, in pixels; 0 where it is chosen by area, None where
    there are no images. now: of one image as it gets it. video: the images are frames.
    """

    data: Data
    source: Data
    tiny: Data
    first: int | None
    now: Geometry
    video: bool

    @classmethod
    def of(cls, data: Data, source: Data, tiny: Data, prefix: str, part: str) -> View:
        """Of the images whose settings start with `prefix`, in the part of that name."""
        was, now = Geometry.of(source, prefix), Geometry.of(tiny, prefix)
        high, wide = was.side
        if was.fixed and high == 2 * wide and pair(data.get("size")) == (wide, wide):
            # The config's image is two, one above the other (SegGPT).
            now = replace(now, side=(now.side[0] // 2, now.side[1]))
        if was.patch is not None and not was.fixed and pair(data.get("size")) == (was.unit,) * 2:
            now = replace(now, side=(now.unit, now.unit))  # images are cut, not resized (Inkling)
        if whole(halved := _told(data, HALVED)):
            now = replace(now, merge=now.merge * halved)
        video = "video" in part or "video_processor_type" in data
        first = _first(data, prefix, now.fixed)
        return cls(data=data, source=source, tiny=tiny, first=first, now=now, video=video)

    def modality(self, name: str) -> str:
        """Whose setting it is."""
        return "audio" if "feature_extractor_type" in self.data or "audio" in name else "image"

    def area(self, most: bool) -> int:
        """Pixels of an image of LEAST or MOST tokens."""
        frames = FRAMES_MORE if self.video and most else 1
        return self.now.unit**2 * (MOST if most else LEAST) * frames


Rule: TypeAlias = Callable[[View, str, Json], Json]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of processors.

    keys: those of a config that say the same. rule: what it becomes (of the view, its name and
    value) where the config has none of them; without a rule it stays.
    """

    keys: tuple[str, ...] = ()
    rule: Rule = lambda view, name, value: value


def _told(data: Data, name: str) -> Json:
    """A setting that a mapping has, or else the class that it is for; None without either."""
    known = parts.class_of(data) if parts.TYPES.keys() & data.keys() else None
    return data.get(name, getattr(known, name, None))


def _same(view: View, name: str, value: Json) -> Json:
    """What the tiny config has where the source's has this value under this name."""
    if not isinstance(value, int | float) or value <= 1:
        return value
    if find(view.source, (name,), view.modality(name)) != value:
        return value
    new = find(view.tiny, (name,), view.modality(name))
    return value if new is None else new


def _frame(view: View, name: str, value: Json) -> Json:
    """Frames of a patch: one where a config does not speak of them, but where those of a video are
    put together behind the tower (Ernie 4.5's)."""
    merged = find(view.tiny, ("temporal_merge_size",), "image") if view.video else None
    return merged or 1


def _patch(view: View, name: str, value: Json) -> Json:
    """A patch's sides in the shape that the value has: a pair, a mapping, or else a number."""
    if name != OF_TOWER and _told(view.data, OF_TOWER) is not None:
        return _pixels(view, name, value)
    patch = Geometry.of(view.tiny).patch
    if patch is None:
        return value
    if isinstance(value, Mapping):
        return {**value, **dict(zip(AXES, patch, strict=True))}
    return list(patch) if isinstance(value, list) else patch[0]


def _pixels(view: View, name: str, value: Json) -> Json:
    """A length in pixels: one image's is the config's, all others keep their ratio to it."""
    free = isinstance(value, Mapping) and "shortest_edge" in value and "crop_size" not in view.data
    if name == "size" and free and view.now.fixed and find(view.tiny, WINDOWS, "image") is not None:
        return dict(zip(AXES, view.now.side, strict=True))
    return value if view.first is None else _scaled(view, value, view.now.unit)


def _free_pixels(view: View, name: str, value: Json) -> Json:
    """A length in pixels that need not be a multiple of a patch."""
    return value if view.first is None else _scaled(view, value, 1)


def _scaled(view: View, value: Json, step: int) -> Json:
    """A length in pixels, of any shape, in its old ratio to the first image's height."""
    first, now = view.first or 0, view.now

    def length(old: int, axis: int = 0) -> int:
        if first <= 0 or old == first:
            return now.side[axis]
        return max(step, round(now.side[axis] * old / first / step) * step)

    if whole(value):
        return length(value)
    if isinstance(value, list):
        return [_scaled(view, item, step) for item in value]
    if not isinstance(value, Mapping):
        return value
    if any(isinstance(edge, int) and edge >= MANY for edge in value.values()):
        return {edge: view.area(edge in ("longest_edge", "max_pixels")) for edge in value}
    whole_image = now.fixed and first in value.values()  # the config's own, whatever its shape
    made = dict(value)
    for edge, old in value.items():
        axis = int(edge in ("width", "max_width") and now.fixed)
        if isinstance(old, int):
            made[edge] = now.side[axis] if whole_image and edge in AXES else length(old, axis)
    return made


def _area(view: View, name: str, value: Json) -> Json:
    """Pixels of the smallest or the largest image."""
    value = _same(view, name, value)
    return view.area(name == "max_pixels") if isinstance(value, int) else value


def _patches(view: View, name: str, value: Json) -> Json:
    """How many patches an image may have."""
    value = _same(view, name, value)
    if not isinstance(value, int) or value < MOST * MOST:
        return value
    return LEAST * LEAST if name.startswith("min") else 4 * MOST


def _soft(view: View, name: str, value: Json) -> Json:
    """How many tokens an image may become, whatever its size: a class makes it as large."""
    value = _same(view, name, value)
    return min(value, SOFT) if whole(value) else value


def _margins(view: View, name: str, value: Json) -> Json:
    """Patches that neighbouring crops share: as large a part of a crop as before, so that there is
    something between them."""
    was, now = Geometry.of(view.source), Geometry.of(view.tiny)
    if not (was.patch and now.patch and wholes(value)):
        return value
    share = (now.side[0] / now.patch[0]) / (was.side[0] / was.patch[0])
    return [max(min(1, margin), int(margin * share)) for margin in value]


def _frames(view: View, name: str, value: Json) -> Json:
    """Frames of a video that are looked at: no more than a short one has."""
    value = _same(view, name, value)
    return min(value, FRAMES) if view.video and whole(value) else value


def _divisor(view: View, name: str, value: Json) -> Json:
    value = _same(view, name, value)
    return min(value, view.now.unit) if whole(value) and view.now.patch is None else value


def _mels(view: View, name: str, value: Json) -> Json:
    """The mel bins of the tiny config under the name that has the value in the source's.

    (Frames may be laid side by side: SeamlessM4T and Granite Speech take 160 = 2 x 80.)
    """
    new = _same(view, name, value)
    if new != value or not whole(value) or value <= 1:
        return new
    for key in NAMES["mel bins"]:
        before, after = (_bins(find(tree, (key,), "audio")) for tree in (view.source, view.tiny))
        if before is None or after is None or before % value:
            continue
        frames = before // value
        if after % frames == 0:
            return after // frames
    widths = (_bins(find(view.tiny, (key,), "audio")) for key in (*MEL_BINS, STEM))
    return next((width for width in widths if width is not None), value)


def _arguments(view: View, name: str, value: Json) -> Json:
    """Settings that a feature extractor hands on to what makes its spectrogram."""
    given = value if isinstance(value, Mapping) else {}
    return {inner: _follows(view, inner, item) for inner, item in given.items()}


def _bins(value: Json) -> int | None:
    """A number of mel bins as configs write it; of a list (STEM's) it is the first."""
    value = value[0] if isinstance(value, list) and value else value
    return value if whole(value) else None


def _hop(view: View, name: str, value: Json) -> Json:
    """Samples of a frame: a codec's are the product of its strides."""
    value, new = _same(view, name, value), strides(view.tiny)
    return new if new is not None and strides(view.source) == value else value


def _side(view: View, name: str, value: Json) -> Json:
    """Patches along a side of an image."""
    patch = view.now.patch
    return view.now.side[0] // patch[0] if patch is not None and view.now.fixed else value


def _covered(view: View, name: str, value: Json) -> Json:
    """Patches that are masked: the same share of an image's."""
    was, now = view.data.get("input_size_patches"), _side(view, name, None)
    return max(1, value * now**2 // was**2) if whole(value) and whole(was) and whole(now) else value


def _truncation(view: View, name: str, value: Json) -> Json:
    fused = find(view.tiny, ("enable_fusion",), "audio")
    return FUSED[bool(fused)] if value in FUSED.values() and fused is not None else value


# Settings that a config has under the same name.
SHARED = (
    *("downsample_factor", "downsample_ratio", "pixel_shuffle_ratio", "pooling_kernel_size"),
    *("vision_feature_select_strategy", "vision_aspect_ratio", "num_query_tokens", "num_channels"),
    *(
        "downsample_rate",
        "max_state_dim",
        "chunk_size",
        "num_prompts",
        "n_window",
        "audio_compression_rate",
    ),
)
# By name; what is not here follows the config's key of the same name, where both had one value.
SETTINGS: dict[str, Setting] = {
    **{name: Setting(keys=(name,)) for name in SHARED},
    **dict.fromkeys((*NAMES["patch side"], OF_TOWER), Setting(rule=_patch)),
    **dict.fromkeys(
        ("merge_size", "spatial_merge_size"), Setting(keys=("spatial_merge_size", "merge_size"))
    ),
    "temporal_patch_size": Setting(keys=("temporal_patch_size", "patch_temporal"), rule=_frame),
    "overlap_margins": Setting(rule=_margins),
    "pooling_ratio": Setting(keys=("projector_pooling_ratio", "pooling_ratio")),
    "image_grid_pinpoints": Setting(keys=("image_grid_pinpoints",), rule=_pixels),
    "num_image_tokens": Setting(keys=("latent_query_num",)),
    "image_num_channels": Setting(keys=("num_channels",)),
    "image_seq_length": Setting(
        keys=("mm_tokens_per_image", "vision_soft_tokens_per_image", "image_seq_length")
    ),
    # {height, width}, {shortest_edge ...}, a number, or lists of these.
    **dict.fromkeys(
        (
            *("size", "crop_size", "image_size", "img_size", "min_image_size", "max_image_size"),
            *("tile_size", "pad_size", "limit_side_len", "max_side_limit", "max_image_width"),
            *("resize_short", "scale_resolution", "split_resolutions", "maximum_pad_value"),
        ),
        Setting(rule=_pixels),
    ),
    **dict.fromkeys(("mask_size", "mask_pad_size"), Setting(rule=_free_pixels)),
    **dict.fromkeys(("min_pixels", "max_pixels"), Setting(rule=_area)),
    **dict.fromkeys(
        ("max_patches", "max_num_patches", "min_num_patches", "video_target_num_patches"),
        Setting(rule=_patches),
    ),
    "max_soft_tokens": Setting(rule=_soft),
    "input_size_patches": Setting(rule=_side),
    **dict.fromkeys(
        ("total_mask_patches", "mask_group_min_patches", "mask_group_max_patches"),
        Setting(rule=_covered),
    ),
    "num_frames": Setting(rule=_frames),
    "size_divisor": Setting(rule=_divisor),
    "audio_seq_length": Setting(keys=("audio_soft_tokens_per_image",)),
    # Of a sound as it is, without a spectrogram.
    "audio_samples_per_token": Setting(keys=("audio_embed_dim",)),
    **dict.fromkeys(("feature_size", "num_mel_bins", "n_mels"), Setting(rule=_mels)),
    "melspec_kwargs": Setting(rule=_arguments),
    "hop_length": Setting(rule=_hop),
    "truncation": Setting(rule=_truncation),
}


def shrink(data: Data, source: Data, tiny: Data) -> dict[str, Json]:
    """A processor file (JSON data) in line with the tiny config; `source` is the config before.

    Both configs are JSON trees. What no rule knows stays as it is.
    """
    return parts.changed(data, lambda part, node: _shrunk(node, source, tiny, part))


def _shrunk(data: Data, source: Data, tiny: Data, part: str) -> dict[str, Json]:
    """The mapping of one part."""
    views = {prefix: View.of(data, source, tiny, prefix, part) for prefix in ("", *_prefixes(data))}
    made: dict[str, Json] = {}
    away = set(abroad.leads(data))
    for name, value in data.items():
        own = (p for p in views if name.startswith(p) and name.removeprefix(p) in SETTINGS)
        prefix = max(own, default="")
        if name not in away:
            made[name] = _follows(views[prefix], name.removeprefix(prefix), value)
    return {**made, **_folded(made, tiny), **_window(made, source, tiny)}


def _prefixes(data: Data) -> list[str]:
    """Prefixes of a second set of images: high_res_ of high_res_image_mean."""
    sizes = (name.removesuffix("size") for name in data if name.endswith("_size"))
    return sorted(p for p in sizes if p and f"{p}image_mean" in data)


def _follows(view: View, name: str, value: Json) -> Json:
    """A setting's new value."""
    setting = SETTINGS.get(name, Setting(rule=_same))
    new = find(view.tiny, setting.keys, view.modality(name))
    return setting.rule(view, name, value) if new is None or isinstance(new, Mapping) else new


def _first(data: Data, prefix: str, fixed: bool) -> int | None:
    """The height of one image as the model gets it, in pixels; 0 where it is chosen by area. Its
    shorter side where the config gives none: nothing but the stages of a model bounds it.

    What it is cropped to, else the tile that it is cut in, else its size.
    """
    cropped = data.get(f"{prefix}do_center_crop") or data.get(f"{prefix}do_crop")
    one = ("size",) if _told(data, OF_TOWER) is not None else ONE
    for name in ("crop_size", *one) if cropped else one:
        value = data.get(prefix + name)
        if whole(value):
            return value
        if isinstance(value, Mapping):
            if any(whole(edge) and edge >= MANY for edge in value.values()):
                return 0
            edges = [edge for name in EDGES if whole(edge := value.get(name))]
            if edges:
                wide = value.get("width")
                return min(edges[0], wide) if whole(wide) and not fixed else edges[0]
    chosen = {name for name, setting in SETTINGS.items() if setting.rule in (_area, _patches)}
    return 0 if {"size_divisor", *chosen} & data.keys() else None


def _folded(data: Data, tiny: Data) -> dict[str, Json]:
    """A spectrogram that is folded into a square of so many columns a row (CLAP)."""
    rate, width = data.get("sampling_rate"), find(tiny, ("spec_size",), "audio")
    bins = data.get("feature_size")
    if "max_length_s" not in data or not (whole(rate) and whole(width) and whole(bins)):
        return {}
    columns = width * (width // bins)
    hop = -(-rate // max(1, columns - 1))
    return {"max_length_s": 1, "hop_length": hop, "nb_max_samples": rate}


def _window(data: Data, source: Data, tiny: Data) -> dict[str, Json]:
    """The window of fixed length (30 s for Whisper) for the positions there are."""
    rate, most = data.get("sampling_rate"), data.get("nb_max_frames")
    before, after = (find(tree, NAMES["sound positions"], "audio") for tree in (source, tiny))
    if not (whole(rate) and whole(most) and whole(before) and whole(after)):
        return {}
    if "chunk_length" not in data:
        return {}
    frames = max(1, round(most / before)) * after
    for seconds in range(1, SECONDS + 1):  # the first that is cut in as many frames exactly
        hop = max(1, seconds * rate // frames)
        if seconds * rate // hop == frames:
            length: dict[str, Json] = {"chunk_length": seconds, "hop_length": hop}
            return {**length, "n_samples": seconds * rate, "nb_max_frames": frames}
    return {}
