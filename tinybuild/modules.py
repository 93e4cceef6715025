"""The modules of a model, read from the names and shapes of its tensors, and a drawing of them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

Shapes = Mapping[str, tuple[int, ...]]  # name of a tensor -> its shape

# Names of tensors do not say what comes first in a forward; names of modules mostly do. What none
# of these words matches stands between the towers and what ends a model.
ORDER: Sequence[str] = (
    r"embed|wte|wpe|stem|shared",
    r"vision|visual|image|audio|speech|tower|encoder|feature",
    r"project|connector|resampler|merger|adapter|bridge|qformer",
    r"",
    r"^norm$|^ln_f$|final_layer_?norm|pooler",
    r"head|classifier|score|output",
)
MIDDLE = ORDER.index("")


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module with what is in it. count: how many alike follow one another, drawn once. weights:
    its own tensors, without those of the modules in it. parameters: of one of them, all inside."""

    name: str
    count: int = 1
    weights: Shapes = field(default_factory=dict)
    inside: tuple[Module, ...] = ()
    parameters: int = 0


def modules(shapes: Shapes, name: str = "") -> Module:
    """The tree of modules that the names of tensors spell: `model.layers.0.mlp.weight`."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    own: dict[str, tuple[int, ...]] = {}
    for tensor, shape in shapes.items():
        first, dot, rest = tensor.partition(".")
        if dot:
            parts.setdefault(first, {})[rest] = shape
        else:
            own[first] = shape
    inside = [modules(held, part) for part, held in sorted(parts.items(), key=_place)]
    folded = tuple(_folded(inside))
    if not own and len(folded) == 1 and folded[0].name.startswith("0 to "):  # layers that are alike
        return dataclasses.replace(folded[0], name=name)
    size = sum(map(math.prod, shapes.values()))
    return Module(name=name, weights=dict(sorted(own.items())), inside=folded, parameters=size)


def _place(item: tuple[str, object]) -> tuple[int, int, str]:
    name = item[0]
    if name.isdecimal():
        return MIDDLE, int(name), ""
    lower = name.lower()
    ranks = (rank for rank, words in enumerate(ORDER) if words and re.search(words, lower))
    return next(ranks, MIDDLE), 0, name


def _folded(inside: Sequence[Module]) -> Iterator[Module]:
    """Numbered modules that are alike, and follow one another, as one with a count."""
    run: list[Module] = []
    for module in inside:
        if run and not _alike(run[-1], module):
            yield _counted(run)
            run = []
        run.append(module)
    if run:
        yield _counted(run)


def _alike(one: Module, other: Module) -> bool:
    numbered = one.name.isdecimal() and other.name.isdecimal()
    return numbered and (one.weights, one.inside) == (other.weights, other.inside)


def _counted(run: Sequence[Module]) -> Module:
    first, last = run[0], run[-1]
    if first is last:
        return first
    return dataclasses.replace(first, name=f"{first.name} to {last.name}", count=len(run))


# --- the drawing ----------------------------------------------------------------------------------

LINE, PAD, GAP, WIDTH = 20, 8, 6, 520  # pixels: a line of text, inside a box, between, of all
DEEPEST, TALLEST = 6, 900  # boxes in boxes; pixels of a file


@dataclass
class Canvas:
    """Where the next box goes, and what has been drawn. deepest: boxes in boxes."""

    y: int = 0
    deepest: int = DEEPEST
    shapes: list[str] = field(default_factory=list)


# Of a drawing that is a file: it has a ground of its own, for it cannot know the page's.
STYLE = (
    "svg{color:#1f2328}.ground{fill:#fff}.box{fill:#f3f5f7}.depth-1,.depth-3,.depth-5{fill:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e6edf3}.ground{fill:#0d1117}.box{fill:#1b222b}"
    ".depth-1,.depth-3,.depth-5{fill:#0d1117}}"
)


def picture(model: Module, title: str) -> str:
    """The drawing as a file of its own, readable on a light and on a dark page, with boxes in boxes
    as long as it is not taller than a screen."""
    canvases = (_drawn(model, deepest) for deepest in range(DEEPEST, 0, -1))
    canvas = next((one for one in canvases if one.y <= TALLEST), _drawn(model, 0))
    ground = '<rect class="ground" x="-2" width="100%" height="100%" rx="8"/>'
    return (
        _svg(
            canvas,
            title,
            f' width="{WIDTH}" height="{canvas.y}"',
            f"<style>{STYLE}</style>{ground}",
        )
        + "\n"
    )


def drawing(model: Module, title: str) -> str:
    """An SVG of boxes in boxes. It has no colours of its own: classes depth-N, box, stack and
    count are styled where it is shown, and it is readable without."""
    return _svg(_drawn(model, DEEPEST), title)


def _drawn(model: Module, deepest: int) -> Canvas:
    canvas = Canvas(y=PAD, deepest=deepest)
    for module in model.inside:
        _draw(canvas, module, 0, WIDTH)
    return canvas


def _svg(canvas: Canvas, title: str, sides: str = "", ground: str = "") -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 0 {WIDTH + 2} {canvas.y}"{sides} '
        f'role="img" class="drawing" font-family="system-ui, sans-serif" font-size="13">'
    )
    return f"{head}<title>{escape(title)}</title>{ground}{''.join(canvas.shapes)}</svg>"


def _draw(canvas: Canvas, module: Module, x: int, right: int) -> None:
    """A box with a module's name and size, and boxes for those in it, below one another."""
    top, depth = canvas.y, x // PAD
    place = len(canvas.shapes)
    canvas.y += LINE + PAD // 2
    inside = module.inside if depth < canvas.deepest else ()
    for one in inside:
        _draw(canvas, one, x + PAD, right - PAD)
    height = canvas.y - top - (GAP if inside else 0) + (PAD if inside else 2)
    canvas.shapes.insert(place, _box(module, (x, top, right - x, height), depth))
    canvas.y = top + height + GAP


def _box(module: Module, at: tuple[int, int, int, int], depth: int) -> str:
    x, y, width, height = at
    rectangle = f'width="{width - 4}" height="{height}" rx="5" fill="none" stroke="currentColor"'
    behind = ""
    if module.count > 1:  # a second card behind the first
        behind = f'<rect class="stack" x="{x + 4}" y="{y + 3}" {rectangle} opacity="0.35"/>'
    times = f" × {module.count}" if module.count > 1 else ""
    sides = " ".join("×".join(map(str, shape)) for shape in module.weights.values() if shape)
    label = f"{module.name}{times}"
    said = f"{module.parameters:,}" if module.inside else sides
    return (
        f"{behind}"
        f'<rect class="box depth-{depth}" x="{x}" y="{y}" {rectangle}/>'
        f'<text x="{x + PAD}" y="{y + 16}" fill="currentColor">{escape(label)}</text>'
        f'<text x="{x + width - 4 - PAD}" y="{y + 16}" text-anchor="end" fill="currentColor" '
        f'opacity="0.7">{escape(said)}</text>'
    )
