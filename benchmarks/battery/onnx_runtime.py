"""optimum-onnx exports a bundle, and onnxruntime computes what torch computes."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from run import on


@on("llama", "gpt2", "bert", "compat-llama", "t5", "vit")
def onnx(folder: Path) -> str:
    """ORTModel ... .from_pretrained(export=True) gives the same numbers as this torch."""
    from optimum import onnxruntime

    kinds = {
        "bert": "ForMaskedLM",
        "t5": "ForSeq2SeqLM",
        "vit": "ForImageClassification",
    }
    kind = kinds.get(folder.name, "ForCausalLM")
    made = getattr(onnxruntime, f"ORTModel{kind}").from_pretrained(folder, export=True)
    plain = getattr(transformers, f"AutoModel{kind}").from_pretrained(folder).eval()
    if folder.name == "vit":
        side = plain.config.image_size
        batch = {"pixel_values": torch.linspace(-1, 1, 3 * side**2).reshape(1, 3, side, side)}
    else:
        ids = (torch.arange(12) * 7 % 100 + 10)[None]
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if folder.name == "bert":
        batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
    if folder.name == "t5":
        batch["decoder_input_ids"] = batch["input_ids"][:, :5]
    with torch.no_grad():
        one, other = plain(**batch).logits, made(**batch).logits
    far = float((one - other).abs().max() / one.abs().max())
    assert far < 1e-3, f"differ by {far:.1e} of the largest"
    return "within 0.001"
