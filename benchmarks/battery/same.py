"""What a bundle gives in this version of transformers: ids of texts, and outputs of the model.

The benchmark compares them with those of the version that it was built with.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
import transformers
from run import TEXTS, on

TEXT = (
    *("llama", "gpt2", "bert", "t5", "mt5", "bart", "xlm-roberta", "deberta", "qwen2-600"),
    *("nemo-2k", "deepseek-v3", "llava", "clip", "compat-llama", "compat-gemma3", "compat-qwen2"),
    *("chat", "tp4"),
)


@on(*TEXT, "mistral-1k")
def tokens(folder: Path) -> str:
    """The ids of some texts, with special tokens and without, and what else comes with them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    made = [tokenizer(text)["input_ids"] for text in TEXTS]
    made += [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    made += [tokenizer.decode(ids) for ids in made[:5]]
    made.append(sorted(tokenizer("a")))
    return json.dumps(made)


@on(*TEXT, "vit")
def outputs(folder: Path) -> str:
    """Some numbers of the first output, of fixed inputs."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model, report = model_class.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model.eval()
    missing = sorted({*report["missing_keys"]} | {*report["unexpected_keys"]})
    if missing:
        raise ValueError(f"keys: {', '.join(map(str, missing[:3]))} ({len(missing)})")
    text = getattr(config, "text_config", config)
    batch: dict[str, torch.Tensor] = {}
    if getattr(text, "vocab_size", None):
        rows = min(text.vocab_size, 200)
        batch["input_ids"] = (torch.arange(24) * 7 % (rows - 20) + 10)[None]
    if model.main_input_name == "pixel_values":
        side = config.image_size
        batch = {"pixel_values": torch.linspace(-1, 1, 3 * side * side).reshape(1, 3, side, side)}
    elif hasattr(config, "vision_config") and hasattr(config, "projection_dim"):
        side = config.vision_config.image_size
        batch["pixel_values"] = torch.linspace(-1, 1, 3 * side**2).reshape(1, 3, side, side)
        batch["input_ids"][0, -1] = text.eos_token_id
    if config.is_encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"][:, :5]
    with torch.no_grad():
        first = next(v for v in model(**batch).values() if isinstance(v, torch.Tensor))
    flat = first.float().reshape(-1)
    picked = flat[:: max(1, flat.numel() // 97)]
    return json.dumps([round(float(x), 6) for x in picked])


@on("llava", "clip", "vit")
def processor(folder: Path) -> str:
    """The tensors that a processor makes of an image (and a text)."""
    from PIL import Image

    image = Image.linear_gradient("L").resize((48, 40)).convert("RGB")
    if folder.name == "vit":
        made = transformers.AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    else:
        processor = transformers.AutoProcessor.from_pretrained(folder)
        mark = getattr(processor, "image_token", "") or ""
        made = processor(images=[image], text=[f"{mark}a fox"], return_tensors="pt")
    said = {n: [*map(int, t.shape)] for n, t in sorted(made.items())}
    raw = made["pixel_values"].float().numpy().round(2).tobytes()
    return json.dumps([said, hashlib.sha256(raw).hexdigest()[:12]])
