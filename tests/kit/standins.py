"""Stand-ins of the upstreams of recipes/hub/: layouts and configs as they are on the Hub, with
vocabularies that are learned here and rows that are made up."""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from kit.hub import Hub
from kit.vocabularies import pieces
from tinybuild import corpus

LETTERS = "abcdefghijklmnoprstuvwzабвгдежзиклмнопрстуяéüñß"
WEIGHTS = {
    "model.safetensors": b"W" * 5000,
    "pytorch_model.bin": b"W" * 5000,
    "README.md": b"---\nlicense: mit\n---\n# a model",
    ".gitattributes": b"*.bin filter=lfs\n",
}


@functools.cache
def texts() -> tuple[str, ...]:
    """The corpus, and enough made-up words for a vocabulary of some thousands."""
    dice = random.Random(0)
    made = [
        " ".join(
            "".join(dice.choice(LETTERS) for _ in range(dice.randint(2, 7))) for _ in range(12)
        )
        for _ in range(1500)
    ]
    return (*corpus.texts(), *made)


def dumped(data: object) -> bytes:
    return json.dumps(data, indent=2, ensure_ascii=False).encode()


@functools.cache
def bpe(size: int, special: Sequence[str] = (), suffix: str = "") -> Any:
    """A tokenizer of the tokenizers library: byte-level BPE, or with a suffix at words' ends."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    ends = {"end_of_word_suffix": suffix} if suffix else {}
    made = Tokenizer(models.BPE(**ends))
    alphabet: list[str] = []
    if suffix:
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=alphabet,
        **ends,
        show_progress=False,
    )
    made.train_from_iterator(texts(), trainer)
    return made


def vocab_of(made: Any) -> tuple[bytes, bytes]:
    """vocab.json and merges.txt."""
    model = json.loads(made.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return dumped(model["vocab"]), "\n".join(["#version: 0.2", *merges, ""]).encode()


def config(model_type: str, architecture: str | None, **more: Any) -> bytes:
    named = {"architectures": [architecture]} if architecture else {}
    return dumped({**named, "model_type": model_type, **more})


def bloom() -> dict[str, bytes]:
    special = ("<unk>", "<s>", "</s>", "<pad>")
    return {
        "config.json": config(
            "bloom",
            "BloomForCausalLM",
            **{"n_embed": 14336, "n_layer": 70, "num_attention_heads": 112, "seq_length": 2048},
            **{"vocab_size": 250880, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3},
            **{"unk_token_id": 0, "attention_softmax_in_fp32": True, "pretraining_tp": 4},
        ),
        "tokenizer.json": bpe(6000, special).to_str().encode(),
        "tokenizer_config.json": dumped(
            {
                "tokenizer_class": "BloomTokenizerFast",
                "padding_side": "left",
                **{"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
                "pad_token": "<pad>",
            }
        ),
    }


def deberta() -> dict[str, bytes]:
    vocab, merges = vocab_of(bpe(6000, ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")))
    return {
        "config.json": config(
            "deberta",
            None,
            **{"attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_size": 768},
            **{"intermediate_size": 3072, "max_position_embeddings": 512, "type_vocab_size": 0},
            **{"relative_attention": True, "pos_att_type": "c2p|p2c", "layer_norm_eps": 1e-7},
            **{"padding_idx": 0, "num_attention_heads": 12, "num_hidden_layers": 12},
            **{"vocab_size": 50265, "position_biased_input": False, "max_relative_positions": -1},
        ),
        "vocab.json": vocab,
        "merges.txt": merges,
        "bpe_encoder.bin": b"W" * 100,
        "tokenizer_config.json": dumped({"do_lower_case": False, "vocab_type": "gpt2"}),
    }


def gpt2() -> dict[str, bytes]:
    made = bpe(6000, ("<|endoftext|>",))
    vocab, merges = vocab_of(made)
    return {
        "config.json": config(
            "gpt2",
            "GPT2LMHeadModel",
            **{"activation_function": "gelu_new", "n_ctx": 1024, "n_embd": 768, "n_head": 12},
            **{"n_layer": 12, "n_positions": 1024, "vocab_size": 50257},
            **{"bos_token_id": 50256, "eos_token_id": 50256},
            task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}},
        ).replace(b"50256", b"0"),
        "vocab.json": vocab,
        "merges.txt": merges,
        "tokenizer.json": made.to_str().encode(),
        "tokenizer_config.json": dumped({"model_max_length": 1024}),
        "generation_config.json": dumped({"bos_token_id": 0, "eos_token_id": 0}),
        "onnx/config.json": b"{}",
    }


def llama_files(tokens: Mapping[str, Any]) -> dict[str, bytes]:
    """tokenizer.model and its settings, as Llama's repositories have them."""
    model = pieces("bpe", texts(), vocab_size=6000, byte_fallback=True, character_coverage=0.99)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **tokens}
    return {
        "tokenizer.model": model,
        "special_tokens_map.json": dumped(special),
        "tokenizer_config.json": dumped(
            {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, **special}
        ),
    }


def llama() -> dict[str, bytes]:
    return {
        "config.json": config(
            "llama",
            "LlamaForCausalLM",
            **{"bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096},
            **{"intermediate_size": 11008, "max_position_embeddings": 4096, "pretraining_tp": 1},
            **{"num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32},
            **{"rms_norm_eps": 1e-5, "rope_scaling": None, "tie_word_embeddings": False},
            **{"torch_dtype": "float16", "use_cache": True, "vocab_size": 32000},
        ),
        "generation_config.json": dumped(
            {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_length": 4096}
        ),
        "model.safetensors.index.json": b"{}",
        **llama_files({}),
    }


def idefics() -> dict[str, bytes]:
    image = {"image_size": 224, "image_num_channels": 3}
    return {
        "config.json": config(
            "idefics",
            "IdeficsForVisionText2Text",
            **{"additional_vocab_size": 2, "alpha_initializer": "zeros", "alpha_type": "float"},
            **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "cross_layer_interval": 4},
            **{"hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008},
            **{"num_attention_heads": 32, "num_hidden_layers": 32, "rms_norm_eps": 1e-6},
            **{"tie_word_embeddings": False, "use_resampler": True, "vocab_size": 32000},
            qk_layer_norms=False,
            perceiver_config={
                "model_type": "idefics",
                **{"resampler_depth": 6, "resampler_head_dim": 96, "resampler_n_heads": 16},
                **{"resampler_n_latents": 64, "qk_layer_norms_perceiver": False},
            },
            vision_config={
                "model_type": "idefics",
                **{"embed_dim": 1280, "image_size": 224, "intermediate_size": 5120},
                **{"num_attention_heads": 16, "num_hidden_layers": 32, "patch_size": 14},
            },
        ),
        "preprocessor_config.json": dumped(
            {"image_processor_type": "IdeficsImageProcessor", **image}
            | {"image_mean": [0.48145466, 0.4578275, 0.40821073]}
            | {"image_std": [0.26862954, 0.26130258, 0.27577711]}
        ),
        "generation_config.json": dumped({"bos_token_id": 1, "eos_token_id": 2}),
        "added_tokens.json": dumped({"<fake_token_around_image>": 6000, "<image>": 6001}),
        **llama_files(
            {
                "pad_token": "<unk>",
                "additional_special_tokens": ["<fake_token_around_image>", "<image>"],
            }
        ),
    }


def mt5() -> dict[str, bytes]:
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    model = pieces(
        "unigram",
        texts(),
        vocab_size=6000,
        byte_fallback=True,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "pad_piece": "<pad>"},
    )
    return {
        "config.json": config(
            "mt5",
            "MT5ForConditionalGeneration",
            **{"d_ff": 1024, "d_kv": 64, "d_model": 512, "decoder_start_token_id": 0},
            **{"dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu"},
            **{"is_encoder_decoder": True, "num_decoder_layers": 8, "num_heads": 6},
            **{"num_layers": 8, "pad_token_id": 0, "relative_attention_num_buckets": 32},
            **{"tie_word_embeddings": False, "tokenizer_class": "T5Tokenizer"},
            vocab_size=250112,
        ),
        "spiece.model": model,
        "special_tokens_map.json": dumped(special),
        "tokenizer_config.json": dumped({**special, "extra_ids": 0}),
        "generation_config.json": dumped(
            {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
        ),
    }


def wmt19() -> dict[str, bytes]:
    special = ("<s>", "<pad>", "</s>", "<unk>")
    source = bpe(7000, special, "</w>")
    vocab, merges = vocab_of(source)
    return {
        "config.json": config(
            "fsmt",
            "FSMTForConditionalGeneration",
            **{"activation_dropout": 0.0, "activation_function": "relu", "d_model": 1024},
            **{"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "num_beams": 5},
            **{"encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 16},
            **{"decoder_attention_heads": 16, "encoder_ffn_dim": 8192, "decoder_ffn_dim": 4096},
            **{"is_encoder_decoder": True, "langs": ["en", "ru"], "max_position_embeddings": 1024},
            **{"scale_embedding": True, "src_vocab_size": 31232, "tgt_vocab_size": 31640},
            **{"tie_word_embeddings": False, "max_length": 200, "length_penalty": 1.15},
        ),
        "vocab-src.json": vocab,
        "vocab-tgt.json": vocab,
        "merges.txt": merges,
        "tokenizer_config.json": dumped(
            {"langs": ["en", "ru"], "do_lower_case": False, "model_max_length": 1024}
        ),
        "generation_config.json": dumped(
            {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2}
        ),
    }


def xlm_roberta() -> dict[str, bytes]:
    return {
        "config.json": config(
            "xlm-roberta",
            "XLMRobertaForMaskedLM",
            **{"attention_probs_dropout_prob": 0.1, "bos_token_id": 0, "eos_token_id": 2},
            **{"hidden_act": "gelu", "hidden_size": 768, "intermediate_size": 3072},
            **{"layer_norm_eps": 1e-5, "max_position_embeddings": 514, "num_hidden_layers": 12},
            **{"num_attention_heads": 12, "pad_token_id": 1, "type_vocab_size": 1},
            vocab_size=250002,
        ),
        "sentencepiece.bpe.model": pieces("unigram", texts(), vocab_size=6000),
        "tokenizer_config.json": dumped(
            {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
        ),
    }


MODELS = {
    "bigscience/bloom": bloom,
    "microsoft/deberta-base": deberta,
    "openai-community/gpt2": gpt2,
    "HuggingFaceM4/idefics-9b": idefics,
    "meta-llama/Llama-2-7b-hf": llama,
    "google/mt5-small": mt5,
    "facebook/wmt19-en-ru": wmt19,
    "FacebookAI/xlm-roberta-base": xlm_roberta,
}
MOVED = {"gpt2": "openai-community/gpt2", "xlm-roberta-base": "FacebookAI/xlm-roberta-base"}
ROWS = 10_500  # the recipes take 10,000


def c4() -> dict[str, bytes]:
    def shard(number: int) -> bytes:
        lines = (
            {"text": f"text {number} {n}", "timestamp": "2019-04-25T12:57:54Z", "url": "http://x"}
            for n in range(ROWS)
        )
        return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    card = """---
license: odc-by
configs:
- config_name: en
  data_files:
  - split: train
    path: en/c4-train.*.json.gz
  - split: validation
    path: en/c4-validation.*.json.gz
---
"""
    names = [f"en/c4-train.{n:05}-of-01024.json.gz" for n in range(2)]
    held = "en/c4-validation.00000-of-00008.json.gz"
    return {
        "README.md": card.encode(),
        held: shard(9),
        **{name: shard(n) for n, name in enumerate(names)},
    }


def converted(name: str) -> dict[str, bytes]:
    """The Hub's own Parquet of a dataset that a script makes."""
    from datasets import Dataset

    file = io.BytesIO()
    rows = [{"text": f"text {n}"} for n in range(ROWS)]
    Dataset.from_list(rows).to_parquet(file, batch_size=1000)
    return {f"{name}/train/0000.parquet": file.getvalue()}


def serve(hub: Hub) -> None:
    """Put all of them on a Hub."""
    hub.moved.update(MOVED)
    for name, files in MODELS.items():
        hub.repo(name).commit({**WEIGHTS, **files()})
    hub.dataset("allenai/c4").commit(c4())
    scripts = {
        "Skylion007/openwebtext": "plain_text",
        "oscar-corpus/oscar": "unshuffled_deduplicated_en",
    }
    for name, only in scripts.items():
        repo = hub.dataset(name)
        script = f"{name.rpartition('/')[2]}.py"
        repo.commit({"README.md": b"---\nlicense: cc0-1.0\n---\n", script: b"raise SystemExit"})
        repo.commit(converted(only), ref="refs/convert/parquet")
