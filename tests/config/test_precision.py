"""Which tensors stay float32 in a model of another dtype, as from_pretrained makes them."""

from __future__ import annotations

from tinybuild.config.precision import keeps


def test_what_a_class_keeps_in_float32() -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(**sizes, vocab_size=32)
    kept = keeps(T5ForConditionalGeneration, config, torch.float16)
    assert {name.split(".")[-2] for name in kept} == {"wo"}
    for dtype in (torch.bfloat16, torch.float32):
        assert keeps(T5ForConditionalGeneration, config, dtype) == frozenset()
