"""How many seeds of a recipe make a model whose prompts are not all continued alike?

    python benchmarks/seeds.py [SEEDS]

For three recipes with `shrink: none`: the seeds of which the first draw, and of which the draw that
is kept, continues four other prompts alike (which fails the check `generation_differs`), and how
many seeds took which draw.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tinybuild.feeding import inputs
from tinybuild.model import Building
from tinybuild.model.resized import resize
from tinybuild.workers import Job

SECTION = {"shrink": "none", "size": "tiny", "dtype": "float32"}
SMALL = {"vocab_size": 700}
RECIPES = {
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}),
    "llama": (
        "LlamaForCausalLM",
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        | {"num_attention_heads": 2, "num_key_value_heads": 2},
    ),
    "opt": (
        "OPTForCausalLM",
        {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        | {"word_embed_proj_dim": 32, "max_position_embeddings": 128},
    ),
}


def alike(building: Building, number: int) -> bool:
    """Whether a draw continues four prompts alike, which the model stage does not try."""
    section = building.asked.model
    resized = resize(building.source, section, None, building.model_class, building.seed)
    model = building.built(resized, 2.0, number).model
    batches = [inputs.batch(model, building.seed + 100_000 + extra) for extra in range(2)]
    count, _, _ = inputs.verdict(inputs.continued(model, batches, building.seed))
    return count == 1


def main() -> None:
    from transformers import CONFIG_MAPPING

    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for model_type, (name, config) in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            CONFIG_MAPPING[model_type](**SMALL, bos_token_id=0, eos_token_id=0).save_pretrained(
                Path(folder) / "source"
            )
            first = kept = 0
            draws = Counter[int]()
            for seed in range(seeds):
                model = {**SECTION, "architecture": name, "config": config}
                job = Job(
                    task=f"model:{model_type}",
                    settings={"model": model, "max_parameters": 10**6},
                    inputs={"fetch": Path(folder)},
                    facts={},
                    root=Path(folder),
                    out=Path(folder),
                    seed=seed,
                )
                building = Building.of(job)
                number = building.best().number
                draws[number] += 1
                failed = alike(building, number)
                kept += failed
                first += alike(building, 0) if number else failed
            told = ", ".join(f"{count} of draw {number}" for number, count in sorted(draws.items()))
            print(
                f"{model_type}: {seeds} seeds; alike: {first} first draws, {kept} kept; {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
