"""Pixels by rule: the shapes in which models take images and videos, likeliest first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts

SIZES = (32, 64, 96, 128, 224)  # tried after the config's own
LARGEST = 512
REGIONS = 4
MERGES: tuple[str, ...] = (
    *("spatial_merge_size", "merge_size", "pixel_shuffle_factor", "downsample_factor"),
    *("scale_factor", "pooling_kernel_size", "projector_scale_factor", "merge_kernel_size"),
)
CHANNELS = ("num_channels", "in_channels", "in_chans", "num_input_channels", "image_channels")
PIXELS = ("pixel_values", "image_pixel_values", "flattened_patches", "image_patches", "image")
CONVS = ("Conv2d", "Conv3d")


def images(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Arguments for the image argument `name` and those that describe it, one image a row."""
    takes = facts.takes
    grid = next((arg for arg in ("image_grid_thw", "grid_thw") if arg in takes), None)
    if grid is not None:
        yield from flat(facts, draw, name, grid, "image")
    elif "spatial_shapes" in takes:
        yield from naflex(facts, draw, name)
    elif "image_position_ids" in takes or "pixel_position_ids" in takes:
        arg = "image_position_ids" if "image_position_ids" in takes else "pixel_position_ids"
        yield from positioned(facts, draw, name, arg)
    elif "aspect_ratio_ids" in takes:
        yield from tiled(facts, draw, name)
    elif "image_grids" in takes:
        yield from pooled(facts, draw, name, "image")
    elif "target_sizes" in takes:
        yield from strips(facts, draw, name, "target_sizes", "image")
    elif "image_sizes" in takes:
        yield from sized(facts, draw, name)
    yield from plain(facts, draw, name)


def videos(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Arguments for the video argument `name` and those that describe it, one video a row."""
    takes = facts.takes
    if "video_grid_thw" in takes:
        yield from flat(facts, draw, name, "video_grid_thw", "video")
    elif "video_position_ids" in takes:
        yield from positioned(facts, draw, name, "video_position_ids")
    elif "video_grids" in takes:
        yield from pooled(facts, draw, name, "video")
    elif "target_sizes_videos" in takes:
        yield from strips(facts, draw, name, "target_sizes_videos", "video")
    for count in frames(facts):
        for size in sizes(facts, "video"):
            high, wide = size
            yield {name: draw.normal(name, ROWS, count, channels(facts), high, wide)}
    for count in frames(facts):
        for high, wide in sizes(facts, "video")[:2]:
            yield {name: draw.normal(name, ROWS, channels(facts), count, high, wide)}


def sizes(facts: Facts, near: str = "image") -> list[tuple[int, int]]:
    """(height, width) to try: those that the config names, then the usual ones."""
    found: list[tuple[int, int]] = []
    names = ("image_size", "img_size", "input_size", "image_resolution", "crop_size", "resolution")
    for value in facts.every(*names, near=near):
        pair = value if isinstance(value, list | tuple) else (value, value)
        if len(pair) == 2 and all(isinstance(n, int) and 0 < n <= LARGEST for n in pair):
            found.append((pair[0], pair[1]))
    # An image that is also seen at parts of its size, none of them below the patch.
    for shares in facts.every("scaled_images_ratios"):
        whole = getattr(facts.config, "patch_size", None) or patch(facts, near)
        least = round(whole / min(shares))
        found.insert(0, (least, least))
    found += [(size, size) for size in SIZES]
    return list(dict.fromkeys(found))


def channels(facts: Facts) -> int:
    """Of the config, or of the first convolution, in its absence."""
    first = next((m.in_channels for _, m in facts.modules(*CONVS, near="image")), 3)
    return facts.integer(*CHANNELS, near="image", default=first if first <= 16 else 3)


def frames(facts: Facts) -> list[int]:
    """Numbers of frames to try."""
    own = facts.every("num_frames", "frames_per_clip", "max_num_frames", "num_image_with_embedding")
    found = [n for n in own if isinstance(n, int) and 0 < n <= 64]
    tubes = [n for n in facts.every("tubelet_size", "temporal_patch_size") if isinstance(n, int)]
    return list(dict.fromkeys([*found, *(2 * n for n in tubes), 2, 4, 8]))


def patch(facts: Facts, near: str = "image") -> int:
    for value in facts.every("patch_size", "model_patch_size", near=near):
        value = value[-1] if isinstance(value, list | tuple) and value else value
        if isinstance(value, int) and value > 0:
            return value
    return 8


def merge(facts: Facts) -> int:
    """Patches (in a row) that become one token."""
    for value in facts.every(*MERGES, near="image"):
        value = max(value) if isinstance(value, list | tuple) and value else value
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
            return int(value)
    return 1


def widths(facts: Facts, near: str, temporal: int) -> list[int]:
    """Numbers in a flat patch: of the patch embedding, and as the config says."""
    side, deep = patch(facts, near), channels(facts)
    found = [deep * temporal * side * side]
    for _, module in facts.modules("Conv2d", "Conv3d", near=near):
        if tuple(module.kernel_size) == tuple(module.stride):
            found.append(module.in_channels * math.prod(module.kernel_size))
            break
    for _, module in facts.modules("Linear", near=near):
        found.append(module.in_features)
        break
    found.append(deep * side * side)
    return list(dict.fromkeys(found))


def flat(facts: Facts, draw: Draw, name: str, grid: str, near: str) -> Iterator[dict[str, Any]]:
    """Patches of all images in one sequence, and each image's (time, height, width) in patches."""
    import torch

    temporal = facts.integer("temporal_patch_size", near="image", default=1)
    side, deep, least = patch(facts), channels(facts), merge(facts)
    shrunk = facts.integer("hidden_stride", near="image", default=1)
    for factor in (2, 4, 1, 8, 3):
        for time in (1, 2):
            high = wide = least * factor * shrunk
            count = ROWS * time * high * wide
            grids = torch.tensor([[time, high, wide]] * ROWS)
            extra: dict[str, Any] = {grid: grids}
            for sort in ("merge_sizes", f"{near}_merge_sizes"):
                if sort in facts.takes:
                    extra[sort] = torch.tensor([least] * ROWS)
            if near == "video" and "video_second_per_grid" in facts.takes:
                extra["video_second_per_grid"] = torch.ones(ROWS)
            if "images_per_sample" in facts.takes:  # the one given, and one to be made
                extra["images_per_sample"] = torch.tensor([2] * ROWS)
                extra[grid] = grids.repeat_interleave(2, 0)
            for width in widths(facts, near, temporal):
                yield {name: draw.normal(name, count, width), **extra}
            yield {name: draw.normal(name, count, deep, side, side), **extra}
            # A square of patches for each token, and the grids in tokens.
            tokens = torch.tensor([[time, factor, factor]] * ROWS)
            square = (ROWS * time * factor * factor, side * least, side * least, deep)
            yield {name: draw.normal(name, *square), grid: tokens}


def naflex(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Flat patches, an image a row, with its (height, width) in patches and a mask."""
    import torch

    least = merge(facts)
    for factor in (2, 4, 1, 8):
        side = factor * least
        for width in widths(facts, "image", 1):
            yield {
                name: draw.normal(name, ROWS, side * side, width),
                "spatial_shapes": torch.tensor([[side, side]] * ROWS),
                "pixel_attention_mask": torch.ones(ROWS, side * side, dtype=torch.long),
            }


def positioned(facts: Facts, draw: Draw, name: str, arg: str) -> Iterator[dict[str, Any]]:
    """Flat patches with the (x, y) of each."""
    import torch

    least = merge(facts)
    for factor in (2, 1, 3, 4, 8):
        side = factor * least
        ys, xs = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        places = torch.stack([xs.flatten(), ys.flatten()], dim=-1).expand(ROWS, -1, -1)
        for width in widths(facts, "image", 1):
            if arg == "video_position_ids":
                for count in (2, 1):
                    yield {
                        name: draw.uniform(name, ROWS, count, side * side, width),
                        arg: places.unsqueeze(1).expand(-1, count, -1, -1).contiguous(),
                    }
                    yield {
                        name: draw.uniform(name, ROWS * count, side * side, width),
                        arg: places.repeat(count, 1, 1),
                        "num_frames_per_video": torch.tensor([count] * ROWS),
                    }
            else:
                yield {name: draw.uniform(name, ROWS, side * side, width), arg: places.contiguous()}


def tiled(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Tiles of an image in their aspect ratio: (rows, images, tiles, channels, height, width)."""
    import torch

    most = facts.integer("max_num_tiles", near="image", default=4)
    for high, wide in sizes(facts):
        pixels = draw.normal(name, ROWS, 1, most, channels(facts), high, wide)
        yield {
            name: pixels,
            "aspect_ratio_ids": torch.ones(ROWS, 1, dtype=torch.long),
            "aspect_ratio_mask": torch.ones(ROWS, 1, most, dtype=torch.long),
        }


def pooled(facts: Facts, draw: Draw, name: str, near: str) -> Iterator[dict[str, Any]]:
    """Flat patches of crops, and which of them each token gathers."""
    import torch

    side = patch(facts, near)
    for high, _ in sizes(facts, near):
        rows = high // side
        for width in widths(facts, near, 1):
            tokens = rows // 2
            pairs = torch.arange(rows * rows).view(tokens, 2, tokens, 2).permute(0, 2, 1, 3)
            one = pairs.reshape(tokens * tokens, 4)
            if near == "image":
                gather = torch.cat([one + crop * rows * rows for crop in range(2 * ROWS)])
                yield {
                    name: draw.normal(name, 2 * ROWS, rows * rows, width),
                    "image_token_pooling": gather,
                    "image_grids": torch.tensor([[tokens] * 4] * ROWS),
                    "image_num_crops": torch.tensor([2] * ROWS),
                }
            else:
                gather = torch.cat([one + frame * rows * rows for frame in range(2 * ROWS)])
                yield {
                    name: draw.normal(name, 2 * ROWS, rows * rows, width),
                    "video_token_pooling": gather,
                    "video_grids": torch.tensor([[2, tokens, tokens]] * ROWS),
                }


def strips(facts: Facts, draw: Draw, name: str, arg: str, near: str) -> Iterator[dict[str, Any]]:
    """Patches of all images side by side, one patch high: (1, channels, patch, width)."""
    import torch

    side, deep = patch(facts, near), channels(facts)
    for factor in (4, 8, 2, 16):
        count = ROWS * factor * factor
        yield {
            name: draw.normal(name, 1, deep, side, count * side),
            arg: torch.tensor([[factor, factor]] * ROWS, dtype=torch.int32),
        }


def sized(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Whole images with their (height, width), or tiles of them in a grid of the config."""
    import torch
    from transformers.image_processing_utils import select_best_resolution

    deep = channels(facts)
    points = facts.find("image_grid_pinpoints")
    for high, wide in sizes(facts):
        if isinstance(points, list) and points:
            best = select_best_resolution((high, wide), [tuple(point) for point in points])
            count = math.ceil(best[0] / high) * math.ceil(best[1] / wide) + 1
            if count <= 32:
                yield {
                    name: draw.normal(name, ROWS, count, deep, high, wide),
                    "image_sizes": torch.tensor([[high, wide]] * ROWS),
                }
        else:
            yield {
                name: draw.normal(name, ROWS, deep, high, wide),
                "image_sizes": torch.tensor([[high, wide]] * ROWS),
            }
    for high, wide in sizes(facts):
        yield {
            name: draw.normal(name, ROWS, 3, deep, high, wide),
            "image_sizes": torch.tensor([[high, 2 * wide]] * ROWS),
            "image_attention_mask": torch.ones(
                ROWS, 3, high // patch(facts), wide // patch(facts), dtype=torch.bool
            ),
        }


def masked(facts: Facts, pixels: Any) -> Any:
    """Every other patch of an image or a video left out: (rows, patches), true where it is."""
    import torch

    *axes, high, wide = pixels.shape
    side = patch(facts)
    count = (high // side) * (wide // side)
    if len(axes) == 3:
        count *= axes[1] // facts.integer("tubelet_size", default=1)
    return (torch.arange(count) % 2 == 0).expand(ROWS, -1).contiguous()


def regions(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Features of regions that a detector has found, with their places."""
    import torch

    width = facts.integer("visual_feat_dim", "visual_embedding_dim", default=64)
    yield {
        name: draw.normal(name, ROWS, REGIONS, width),
        "visual_pos": draw.uniform("visual_pos", ROWS, REGIONS, 4),
        "visual_attention_mask": torch.ones(ROWS, REGIONS, dtype=torch.long),
        "visual_token_type_ids": torch.ones(ROWS, REGIONS, dtype=torch.long),
    }


def plain(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """One image a row; then several to the row; then video; then flat patches."""
    import torch

    takes, deep = facts.takes, channels(facts)
    several = "pixel_attention_mask" in takes or "image_attention_mask" in takes
    moving = facts.find("num_frames", "tubelet_size") is not None
    shapes: list[tuple[int, ...]] = [(ROWS, deep)]
    if several:
        shapes.insert(0, (ROWS, 1, deep))
    if moving:
        shapes = [(ROWS, count, deep) for count in frames(facts)] + shapes
    for high, wide in sizes(facts):
        for shape in shapes:
            if "prompt_pixel_values" in takes:  # the prompt stands above the image
                high = high // 2
            found = {name: draw.normal(name, *shape, high, wide)}
            if "pixel_attention_mask" in takes and len(shape) == 3:
                # Not of integers: as an index, they would gather more than memory holds.
                found["pixel_attention_mask"] = torch.ones(ROWS, 1, high, wide, dtype=torch.bool)
            if "pixel_values_local" in takes:
                found["pixel_values_local"] = draw.normal(
                    "pixel_values_local", 2 * ROWS, deep, high, wide
                )
                found["num_local_patches"] = [2] * ROWS
                found["patches_grid"] = torch.tensor([[1, 2]] * ROWS)
            if "high_res_pixel_values" in takes:
                size = facts.integer("image_size", near="high", default=high)
                found["high_res_pixel_values"] = draw.normal(
                    "high_res_pixel_values", ROWS, deep, size, size
                )
            if "prompt_pixel_values" in takes:
                found["prompt_pixel_values"] = draw.normal(
                    "prompt_pixel_values", ROWS, deep, high, wide
                )
                found["prompt_masks"] = draw.normal("prompt_masks", ROWS, deep, high, wide)
            yield found
            if "pixel_attention_mask" in found:  # of whole tiles
                yield {**found, "pixel_attention_mask": torch.ones(ROWS, 1, dtype=torch.bool)}
    if not moving:
        for high, wide in sizes(facts)[:3]:
            yield {name: draw.normal(name, ROWS, 1, deep, high, wide)}
            yield {name: draw.normal(name, ROWS, 2, deep, high, wide)}
            yield {name: draw.normal(name, ROWS, deep, 2, high, wide)}
    side = patch(facts)
    for time in dict.fromkeys([facts.integer("temporal_patch_size", near="image", default=1), 1]):
        yield {name: draw.normal(name, ROWS, time, side, side, deep)}
    for width in widths(facts, "image", 1):
        yield {name: draw.normal(name, ROWS, 16, width)}
        yield {name: draw.normal(name, ROWS * 16, width)}
        yield {  # each patch with its row and column
            name: draw.normal(name, ROWS, 16, width + 2).abs().ceil(),
            "height": torch.tensor([4] * ROWS),
            "width": torch.tensor([4] * ROWS),
        }
