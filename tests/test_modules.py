"""The tree of modules that the names of tensors spell, and its drawing."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tinybuild.modules import Module, drawing, modules, picture

LAYER = {"attn.q.weight": (4, 8), "attn.q.bias": (4,), "norm.weight": (8,)}
SHAPES = {
    "lm_head.weight": (10, 8),
    "model.norm.weight": (8,),
    "model.embed_tokens.weight": (10, 8),
    **{f"model.layers.{n}.{name}": shape for n in (0, 1, 10, 2) for name, shape in LAYER.items()},
    "model.layers.11.mlp.weight": (8, 8),
}


def test_layers_that_are_alike_are_one_with_a_count() -> None:
    whole = modules(SHAPES)
    model, head = whole.inside
    assert (model.name, head.name) == ("model", "lm_head")
    assert [one.name for one in model.inside] == ["embed_tokens", "layers", "norm"]
    layers = model.inside[1]
    assert [(one.name, one.count) for one in layers.inside] == [("0 to 10", 4), ("11", 1)]
    assert layers.inside[0].parameters == 44
    assert layers.parameters == 4 * 44 + 64
    assert whole.parameters == 80 + 8 + 80 + layers.parameters


def test_a_list_of_layers_that_are_all_alike_is_drawn_as_one() -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if ".11." not in name}
    layers = modules(shapes).inside[0].inside[1]
    assert (layers.name, layers.count, layers.parameters) == ("layers", 4, 44)
    text = drawing(modules(shapes), "four")
    assert "layers × 4" in text
    assert text.count('class="stack"') == 1


@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "0", "1", "<b>&"]), min_size=1, max_size=9).map(".".join),
        st.lists(st.integers(0, 9), max_size=3).map(tuple),
        max_size=12,
    )
)
def test_any_names_give_a_well_formed_drawing(shapes: dict[str, tuple[int, ...]]) -> None:
    tree = modules(shapes)

    def size(module: Module) -> int:
        own = sum(map(math.prod, module.weights.values()))
        return own + sum(size(one) * one.count for one in module.inside)

    assert size(tree) * tree.count == sum(map(math.prod, shapes.values()))
    image = ElementTree.fromstring(drawing(tree, "<any> & all"))
    height = float(image.attrib["viewBox"].split()[3])
    for box in image.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.attrib["y"]) + float(box.attrib["height"]) <= height + 4
        assert float(box.attrib["width"]) > 0


def test_a_picture_is_a_drawing_with_its_own_colours() -> None:
    text = picture(modules(SHAPES), "five")
    image = ElementTree.fromstring(text)
    title, style, ground = list(image)[:3]
    assert title.text == "five"
    assert "prefers-color-scheme:dark" in (style.text or "")
    assert ground.attrib["class"] == "ground"
    assert image.attrib["width"] == "520"
    assert picture(modules(dict(reversed(SHAPES.items()))), "five") == text


def test_a_picture_is_not_taller_than_a_screen() -> None:
    """Of a model with many kinds of layers it has fewer boxes in boxes."""
    layers = {f"a.{n}.b.{n}.c.d{n}.weight": (n, 1) for n in range(1, 40)}
    image = ElementTree.fromstring(picture(modules(layers), "many"))
    assert int(image.attrib["height"]) <= 900
    words = [text.text for text in image.iter("{http://www.w3.org/2000/svg}text")]
    assert words[0] == "a"
