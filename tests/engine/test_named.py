"""A model whose backbone is another repository's: built, loaded and made again from its bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit import zoo
from kit.hub import Hub, serve

CONFIG = {
    "model_type": "detr",
    "architectures": ["DetrForObjectDetection"],
    "backbone": "org/resnet",
    "backbone_config": None,
    "backbone_kwargs": {"out_features": ["stage2", "stage3", "stage4"]},
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
}
RESNET = {
    "model_type": "resnet",
    "architectures": ["ResNetForImageClassification"],
    "layer_type": "basic",
    "depths": [2, 2, 2, 2],
    "hidden_sizes": [64, 128, 256, 512],
}
RECIPE = "version: 1\nsummary: a detector\nsource: {hub: org/detr}\nmodel: {}\n"
LOOK = """\
import json, sys
from transformers import AutoConfig
from tinybuild.config import found
from pathlib import Path
there = AutoConfig.from_pretrained("org/detr").to_dict()
here = found.load(Path(sys.argv[1])).to_dict()
for told in (there, here):
    for part in (told, told["backbone_config"]):
        for name in ("_name_or_path", "architectures", "transformers_version", "dtype"):
            part.pop(name, None)
print(json.dumps([there, here]))
"""


@pytest.mark.slow
def test_a_backbone_that_is_another_repositorys(tmp_path: Path) -> None:
    with serve() as server:
        _month(server, tmp_path)


def _month(server: Hub, tmp_path: Path) -> None:
    server.repo("org/detr").commit({"config.json": json.dumps(CONFIG).encode()})
    server.repo("org/resnet").commit({"config.json": json.dumps(RESNET).encode()})
    asked = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    root = zoo.make(tmp_path / "zoo", detr=RECIPE)
    done = zoo.doit(root, "detr", **asked)
    assert done.code == 0, done.out + done.err
    assert not server.asked("safetensors")
    bundle = root / "dist" / "detr"
    made = json.loads((bundle / "config.json").read_text())
    assert made["backbone_config"]["model_type"] == "resnet"
    assert made["backbone_config"]["layer_type"] == "basic"
    assert "org/" not in (bundle / "config.json").read_text()
    assert "backbone: `org/resnet` on the Hub at commit" in (bundle / "README.md").read_text()
    assert "source.backbone" in json.loads((bundle / "recipe.lock.json").read_text())["pins"]

    words = [zoo.sys.executable, "-c", LOOK, str(root / "build/detr/fetch/source")]
    looked = zoo.run(root, words, **asked)
    there, here = json.loads(looked.out)
    assert here == there  # as the class itself has it from the Hub

    server.log.clear()
    again = zoo.doit(root, "detr", **asked)
    assert (again.code, again.ran, server.log) == (0, set(), [])
    # What is named moves; the bundle is what its own lock says.
    server.repo("org/resnet").commit({"config.json": b'{"model_type": "bit"}'})
    rebuilt = zoo.doit(root, "rebuild", "dist/detr", **asked)
    assert rebuilt.code == 0, rebuilt.out + rebuilt.err
    assert "byte-identical" in rebuilt.out


CLASSES = {str(n): {"name": f"class {n}", "isthing": n % 2} for n in range(150)}
SEES = {
    "image_processor_type": "OneFormerImageProcessor",
    "repo_path": "org/classes",
    "class_info_file": "ade.json",
    "ignore_index": 255,
    "num_text": 134,
    "size": {"longest_edge": 1333, "shortest_edge": 800},
}
LOADED = """\
import json, sys
from transformers import OneFormerImageProcessorPil
made = OneFormerImageProcessorPil.from_pretrained(sys.argv[1])
print(json.dumps([made.metadata["class_names"], made.class_info_file]))
"""


@pytest.mark.slow
def test_the_classes_that_a_processor_names(tmp_path: Path) -> None:
    """The bundle's processor has them, and asks nobody."""
    with serve() as server:
        config = {"model_type": "vit", "architectures": ["ViTModel"]}  # OneFormer takes minutes
        files = {"config.json": config, "preprocessor_config.json": SEES}
        server.repo("org/sees").commit({n: json.dumps(v).encode() for n, v in files.items()})
        server.dataset("org/classes").commit({"ade.json": json.dumps(CLASSES).encode()})
        asked = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        root = zoo.make(tmp_path / "zoo", sees=RECIPE.replace("org/detr", "org/sees"))
        done = zoo.doit(root, "model:sees", **asked)
        assert done.code == 0, done.out + done.err
        made = root / "build/sees/model"
        assert "org/" not in (made / "preprocessor_config.json").read_text()
        server.log.clear()
        looked = zoo.run(root, [zoo.sys.executable, "-c", LOADED, str(made)], **asked)
        names, file = json.loads(looked.out.strip().splitlines()[-1])
        assert (names[:2], len(names), file) == (["class 0", "class 1"], 150, "")
        assert server.log == []
