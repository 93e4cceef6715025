"""Pixels by rule: the shapes in which models take images and videos, likeliest first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs import text
from tinybuild.feeding.inputs.draw import ROWS, Draw, each, ones, yes
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.keys import NAMES

FREE = (64, 96)  # high and wide: tried first after the config's own
SIZES = (32, 64, 96, 128, 224)  # squares that are tried then
LARGEST, SMALL = 512, 192  # pixels of a side; up to which a row has several images
STRIDE = 32  # what the last stage of a pyramid divides an image by
GRIDS = ((2, 3), (4, 6), (2, 2), (4, 4), (1, 1), (8, 8), (3, 3))  # tokens of an image of any size
REGIONS = 4
CONVOLUTIONS = ("Conv2d", "Conv3d")
Layout: TypeAlias = Callable[[Facts, Draw, str, str, str], Iterator[Given]]


def images(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Arguments for the image argument `name` and those that describe it, one image a row."""
    yield from _described(facts, draw, name, "image")
    yield from plain(facts, draw, name)


def videos(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Arguments for the video argument `name` and those that describe it, one video a row."""
    yield from _described(facts, draw, name, "video")
    for count in frames(facts):
        for size in sizes(facts, "video"):
            yield {name: draw.normal(name, ROWS, count, channels(facts), *size)}
    for count in frames(facts):
        for size in sizes(facts, "video")[:2]:
            yield {name: draw.normal(name, ROWS, channels(facts), count, *size)}


def _described(facts: Facts, draw: Draw, name: str, near: str) -> Iterator[Given]:
    """In the layout that the first argument of LAYOUTS tells which forward takes."""
    for arg, layout in LAYOUTS[near]:
        if arg in facts.takes:
            yield from layout(facts, draw, name, arg, near)
            return


def sizes(facts: Facts, near: str = "image") -> list[tuple[int, int]]:
    """(height, width) to try: those that the config names, then the usual ones.

    A square is first tried wider than it is high, and then itself: some classes insist on it.
    """
    tried: list[tuple[int, int]] = []
    step = patch(facts, near) * merge(facts)
    names = ("image_size", "img_size", "input_size", "image_resolution", "crop_size", "resolution")
    for value in facts.every(*names, near=near):
        pair = value if isinstance(value, list | tuple) else (value, value)
        if len(pair) == 2 and all(isinstance(n, int) and 0 < n <= LARGEST for n in pair):
            high, wide = pair
            more = math.lcm(step, STRIDE if high % STRIDE == 0 else STRIDE // 2)
            tried += [(high, wide + more)] if high == wide >= more else []
            tried.append((high, wide))
    # An image that is also seen at parts of its size, none of them below the patch.
    for shares in facts.every("scaled_images_ratios"):
        whole = getattr(facts.config, "patch_size", None) or patch(facts, near)
        least = round(whole / min(shares))
        tried.insert(0, (least, least))
    tried += [FREE, *((size, size) for size in SIZES)]
    return list(dict.fromkeys(tried))


def channels(facts: Facts) -> int:
    """Of the config, or of the first convolution, in its absence."""
    first = next((m.in_channels for _, m in facts.modules(*CONVOLUTIONS, near="image")), 3)
    usual = first if first <= 16 else 3
    return facts.integer(*NAMES["image channels"], near="image", default=usual)


def frames(facts: Facts) -> list[int]:
    """Numbers of frames to try."""
    own = [n for n in facts.numbers(*NAMES["frames"]) if 0 < n <= 64]
    tubes = [2 * n for n in facts.numbers("tubelet_size", "temporal_patch_size")]
    return list(dict.fromkeys([*own, *tubes, 2, 4, 8]))


def patch(facts: Facts, near: str = "image") -> int:
    for value in facts.every(*NAMES["patch side"], near=near):
        value = value[-1] if isinstance(value, list | tuple) and value else value
        if isinstance(value, int) and value > 0:
            return value
    return 8


def merge(facts: Facts) -> int:
    """Patches (in a row) that become one token."""
    names = (*NAMES["patches merged"], *NAMES["patches pooled"])
    for value in facts.every(*names, near="image"):
        value = max(value) if isinstance(value, list | tuple) and value else value
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
            return int(value)
    return 1


def widths(facts: Facts, near: str, temporal: int) -> list[int]:
    """Numbers in a flat patch: of the patch embedding, and as the config says."""
    flat = channels(facts) * patch(facts, near) ** 2
    embeddings = [
        module.in_channels * math.prod(module.kernel_size)
        for _, module in facts.modules(*CONVOLUTIONS, near=near)
        if tuple(module.kernel_size) == tuple(module.stride)
    ]
    linears = [module.in_features for _, module in facts.modules("Linear", near=near)]
    return list(dict.fromkeys([flat * temporal, *embeddings[:1], *linears[:1], flat]))


def flat(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Patches of all images in one sequence, and each image's (time, height, width) in patches."""
    import torch

    temporal = facts.integer("temporal_patch_size", near="image", default=1)
    side, deep, least = patch(facts), channels(facts), merge(facts)
    shrunk = facts.integer("hidden_stride", near="image", default=1)
    for rows, columns in GRIDS:
        for time in (1, 2):
            high, wide = least * rows * shrunk, least * columns * shrunk
            count = ROWS * time * high * wide
            extra = {arg: each([time, high, wide])}
            for sort in ("merge_sizes", f"{near}_merge_sizes"):
                if sort in facts.takes:
                    extra[sort] = each(least)
            if near == "video" and "video_second_per_grid" in facts.takes:
                extra["video_second_per_grid"] = torch.ones(ROWS)
            if "images_per_sample" in facts.takes:  # the one given, and one to be made
                extra["images_per_sample"] = each(2)
                extra[arg] = extra[arg].repeat_interleave(2, 0)
            for width in widths(facts, near, temporal):
                yield {name: draw.normal(name, count, width), **extra}
            yield {name: draw.normal(name, count, deep, side, side), **extra}
            # A square of patches for each token, and the grids in tokens.
            square = (ROWS * time * rows * columns, side * least, side * least, deep)
            yield {name: draw.normal(name, *square), arg: each([time, rows, columns])}


def naflex(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Flat patches, an image a row, with its (height, width) in patches and a mask."""
    for rows, columns in GRIDS:
        high, wide = rows * merge(facts), columns * merge(facts)
        for width in widths(facts, "image", 1):
            yield {
                name: draw.normal(name, ROWS, high * wide, width),
                arg: each([high, wide]),
                "pixel_attention_mask": ones(ROWS, high * wide),
            }


def positioned(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Flat patches with the (x, y) of each."""
    import torch

    least = merge(facts)
    for rows, columns in GRIDS:
        high, wide = rows * least, columns * least
        ys, xs = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
        places = torch.stack([xs.flatten(), ys.flatten()], dim=-1).expand(ROWS, -1, -1)
        for width in widths(facts, "image", 1):
            if arg != "video_position_ids":
                yield {name: draw.uniform(name, ROWS, high * wide, width), arg: places.contiguous()}
                continue
            for count in (2, 1):
                frames = places.unsqueeze(1).expand(-1, count, -1, -1).contiguous()
                yield {name: draw.uniform(name, ROWS, count, high * wide, width), arg: frames}
                yield {
                    name: draw.uniform(name, ROWS * count, high * wide, width),
                    arg: places.repeat(count, 1, 1),
                    "num_frames_per_video": each(count),
                }


def tiled(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Tiles of an image in their aspect ratio: (rows, images, tiles, channels, height, width).

    All that there is place for, in another number of rows than of columns.
    """
    most = facts.integer("max_num_tiles", near="image", default=4)
    ratios = [tuple(ratio) for ratio in facts.find("supported_aspect_ratios") or ()]
    wide = (
        n for n, ratio in enumerate(ratios, 1) if math.prod(ratio) == most and len({*ratio}) > 1
    )
    number = next(wide, 1)
    for size in sizes(facts):
        yield {
            name: draw.normal(name, ROWS, 1, most, channels(facts), *size),
            arg: ones(ROWS, 1) * number,
            "aspect_ratio_mask": ones(ROWS, 1, most),
        }


def pooled(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Flat patches of two crops or frames a row, and which of them each token gathers."""
    import torch

    for size in sizes(facts, near):
        high, wide = (edge // patch(facts, near) // 2 for edge in size)  # in tokens
        count = 4 * high * wide
        for width in widths(facts, near, 1):
            pairs = torch.arange(count).view(high, 2, wide, 2).permute(0, 2, 1, 3)
            one = pairs.reshape(high * wide, 4)
            grids = {arg: each([2, high, wide])}
            if near == "image":
                grids = {arg: each([high, wide] * 2), "image_num_crops": each(2)}
            yield {
                name: draw.normal(name, 2 * ROWS, count, width),
                f"{near}_token_pooling": torch.cat([one + n * count for n in range(2 * ROWS)]),
                **grids,
            }


def strips(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Patches of all images side by side, one patch high: (1, channels, patch, width)."""
    side, deep = patch(facts, near), channels(facts)
    for high, wide in ((4, 8), (4, 4), (8, 8), (2, 2), (16, 16)):
        yield {
            name: draw.normal(name, 1, deep, side, ROWS * high * wide * side),
            arg: each([high, wide]).int(),
        }


def sized(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[Given]:
    """Whole images with their (height, width), or tiles of them in a grid of the config."""
    from transformers.image_processing_utils import select_best_resolution

    deep = channels(facts)
    points = facts.find("image_grid_pinpoints")
    if "image_attention_mask" in facts.takes:  # without it, forward computes nothing
        yield from _seen_in_part(facts, draw, name, arg)
    for high, wide in sizes(facts):
        parts: tuple[int, ...] = ()
        image = [high, wide]
        if isinstance(points, list) and points:
            image = [high, 2 * wide]  # two tiles and the whole, at least
            best = select_best_resolution((high, 2 * wide), [tuple(point) for point in points])
            parts = (math.ceil(best[0] / high) * math.ceil(best[1] / wide) + 1,)
        if not parts and _several(facts, max(high, wide)):
            pixels = draw.normal(name, 2 * ROWS, deep, high, wide)
            yield {name: pixels, arg: each(image).repeat(2, 1)}
        if math.prod(parts) <= 32:
            yield {name: draw.normal(name, ROWS, *parts, deep, high, wide), arg: each(image)}


def _seen_in_part(facts: Facts, draw: Draw, name: str, arg: str) -> Iterator[Given]:
    """The whole image and two tiles of it, with a mask of the patches that are of the image."""
    for high, wide in sizes(facts):
        yield {
            name: draw.normal(name, ROWS, 3, channels(facts), high, wide),
            arg: each([high, 2 * wide]),
            "image_attention_mask": yes(ROWS, 3, high // patch(facts), wide // patch(facts)),
        }


# The argument that describes the pixels -> how they are laid out then; the first that is taken.
LAYOUTS: Mapping[str, tuple[tuple[str, Layout], ...]] = {
    "image": (
        *(("image_grid_thw", flat), ("grid_thw", flat), ("spatial_shapes", naflex)),
        *(("image_position_ids", positioned), ("pixel_position_ids", positioned)),
        *(("aspect_ratio_ids", tiled), ("image_grids", pooled)),
        *(("target_sizes", strips), ("image_sizes", sized)),
    ),
    "video": (
        *(("video_grid_thw", flat), ("video_position_ids", positioned)),
        *(("video_grids", pooled), ("target_sizes_videos", strips)),
    ),
}


def masked(facts: Facts, pixels: Tensor) -> Tensor:
    """Every other patch of an image or a video left out: (rows, patches), true where it is."""
    import torch

    *axes, high, wide = pixels.shape
    side = patch(facts)
    count = (high // side) * (wide // side)
    if len(axes) == 3:
        count *= axes[1] // facts.integer("tubelet_size", default=1)
    return (torch.arange(count) % 2 == 0).expand(ROWS, -1).contiguous()


def regions(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Features of regions that a detector has found, with their places."""
    width = facts.integer("visual_feat_dim", "visual_embedding_dim", default=64)
    yield {
        name: draw.normal(name, ROWS, REGIONS, width),
        "visual_pos": draw.uniform("visual_pos", ROWS, REGIONS, 4),
        "visual_attention_mask": ones(ROWS, REGIONS),
        "visual_token_type_ids": ones(ROWS, REGIONS),
    }


def _several(facts: Facts, side: int) -> bool:
    """Whether a row has several images of this side: where text holds their places."""
    placed = "input_ids" in facts.takes and text.placeholder(facts, "image") is not None
    return placed and side <= SMALL


def plain(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Several images or tiles a row where text holds their places; one; then several to the row;
    then video; then flat patches."""
    deep = channels(facts)
    moving = facts.find("num_frames", "tubelet_size") is not None
    shapes: list[tuple[int, ...]] = [(2 * ROWS, deep), (ROWS, deep)]
    if "image_attention_mask" in facts.takes:
        shapes.insert(0, (ROWS, 1, deep))
    if "pixel_attention_mask" in facts.takes:
        shapes = [(ROWS, 2, deep), (ROWS, 1, deep), *shapes]
    if moving:
        shapes = [(ROWS, count, deep) for count in frames(facts)] + shapes
    for high, wide in sizes(facts):
        few = [shape for shape in shapes if shape[0] == ROWS]
        for shape in shapes if _several(facts, max(high, wide)) else few:
            if "prompt_pixel_values" in facts.takes:  # the prompt stands above the image
                high = high // 2
            given = {name: draw.normal(name, *shape, high, wide)}
            if "pixel_attention_mask" in facts.takes and len(shape) == 3:
                # Not of integers: as an index, they would gather more than memory holds.
                given["pixel_attention_mask"] = yes(*shape[:2], high, wide)
            given |= _views(facts, draw, high, wide)
            yield given
            if "pixel_attention_mask" in given:  # of whole tiles
                yield {**given, "pixel_attention_mask": yes(*shape[:2])}
    if not moving:
        for size in sizes(facts)[:3]:
            yield {name: draw.normal(name, ROWS, 1, deep, *size)}
            yield {name: draw.normal(name, ROWS, 2, deep, *size)}
            yield {name: draw.normal(name, ROWS, deep, 2, *size)}
    yield from patches(facts, draw, name)


def _views(facts: Facts, draw: Draw, high: int, wide: int) -> dict[str, Any]:
    """What forward takes beside an image of this size: parts of it, a larger one, a prompt."""
    deep, side = channels(facts), facts.integer("image_size", default=high)
    shapes = {
        "pixel_values_local": (2 * ROWS, deep, high, wide),
        "high_res_pixel_values": (ROWS, deep, side, side),
        "prompt_pixel_values": (ROWS, deep, high, wide),
        "prompt_masks": (ROWS, deep, high, wide),
    }
    given: dict[str, Any] = {
        name: draw.normal(name, *shape) for name, shape in shapes.items() if name in facts.takes
    }
    if "pixel_values_local" in given:
        given |= {"num_local_patches": [2] * ROWS, "patches_grid": each([1, 2])}
    return given


def patches(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Patches as squares, or laid flat."""
    side = patch(facts)
    for time in dict.fromkeys([facts.integer("temporal_patch_size", near="image", default=1), 1]):
        yield {name: draw.normal(name, ROWS, time, side, side, channels(facts))}
    for width in widths(facts, "image", 1):
        yield {name: draw.normal(name, ROWS, 16, width)}
        yield {name: draw.normal(name, ROWS * 16, width)}
        placed = draw.normal(name, ROWS, 16, width + 2)
        placed[..., :2] = placed[..., :2].abs().ceil()  # a patch begins with its row and column
        yield {name: placed, "height": each(4), "width": each(4)}
