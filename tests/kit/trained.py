"""Tokenizers of several families, trained by the stage; `python -m kit.trained FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

SIZES = {"gpt2": 500, "llama": 600, "clip": 650, "bert": 2100, "albert": 3000}


def train(out: Path) -> None:
    """Each below `out`, in a folder with the name of its model type."""
    from tinybuild.source import blank_tokenizer
    from tinybuild.tokenizer import stage as tokenizer
    from tinybuild.workers import Job

    for name, size in SIZES.items():
        blank = blank_tokenizer(name)
        assert blank is not None
        blank.save_pretrained(out / "fetch" / name)
        section = {"method": "train", "vocab_size": size, "text": "multilingual"}
        settings = {"tokenizer": section, "slot": name, "kind": "transformers"}
        (out / name).mkdir(parents=True)
        job = Job(
            task="t",
            settings={**settings, "blank": True, "related": True},
            inputs={"fetch": out / "fetch"},
            facts={},
            root=out,
            out=out / name,
            seed=0,
        )
        tokenizer.make(job)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
