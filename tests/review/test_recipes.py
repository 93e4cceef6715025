"""What fails only in a stage is found by a look at the recipe, its sources and its lock."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit.zoo import FULL, LIGHT, make

from tinybuild.engine.plan import load
from tinybuild.engine.run import Builder
from tinybuild.files import Memo
from tinybuild.recipe import Cache
from tinybuild.review.recipes import Reviewer
from tinybuild.workers import Limits, Pool, Sort, call

HEAD = "version: 1\nsummary: s\n"
GPT2 = HEAD + "source: {transformers: gpt2}\n"
LOCK = {
    "version": 1,
    "pins": {
        "source": {
            "wish": {"hub": "org/name", "revision": "v1"},
            "commit": "a" * 40,
            "files": {"config.json": {"sha256": "b" * 64, "size": 2}},
        }
    },
}


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A recipe that no build can make. says: what is found, or a part of it."""

    text: str
    says: str


WRONG = {
    "model-type": Wrong(
        text=HEAD + "source: {transformers: bort}\nmodel: {}\n", says="no model type 'bort'"
    ),
    "model-type-with-class": Wrong(
        text=HEAD + "source: {transformers: gpt22}\nmodel: {architecture: GPT2LMHeadModel}\n",
        says="did you mean gpt2",
    ),
    "class": Wrong(
        text=GPT2 + "model: {architecture: GPT2LMHeadModle}\n",
        says="transformers has no model class GPT2LMHeadModle",
    ),
    "class-of-another": Wrong(
        text=GPT2 + "model: {architecture: LlamaForCausalLM}\n",
        says="LlamaForCausalLM is not a class for gpt2",
    ),
    "class-without-forward": Wrong(
        text=GPT2 + "model: {architecture: GPT2PreTrainedModel}\n", says="has no forward"
    ),
    "task": Wrong(
        text=GPT2 + "model: {architecture: ctc}\n", says="transformers has no class for ctc of gpt2"
    ),
    "no-path": Wrong(
        text=HEAD + "source: {path: sources/nowhere}\nmodel: {}\n",
        says="there is no sources/nowhere",
    ),
    "config-missing": Wrong(
        text=HEAD + "source: {path: sources/words}\nmodel: {}\n",
        says="the source has no config.json",
    ),
    "config-of-no-type": Wrong(
        text=HEAD + "source: {path: sources/odd}\nmodel: {}\n", says="odd_model"
    ),
    "key": Wrong(
        text=GPT2 + "model: {config: {n_layers: 2}}\n", says="GPT2Config has no 'n_layers'"
    ),
    "key-of-a-part": Wrong(
        text=HEAD
        + "source: {transformers: clip}\nmodel: {config: {text_config: {hiden_size: 8}}}\n",
        says="did you mean hidden_size",
    ),
    "heads": Wrong(
        text=GPT2 + "model: {config: {n_embd: 30, n_head: 4}}\n",
        says="n_embd",
    ),
    "heads-without-shrinking": Wrong(
        text=GPT2 + "model: {shrink: none, config: {n_head: 7}}\n", says="n_head"
    ),
    "type-of-a-value": Wrong(
        text=GPT2 + "model: {shrink: none, config: {n_layer: many}}\n", says="n_layer"
    ),
    "layers": Wrong(text=GPT2 + "model: {layers: 100}\n", says="the source has 12"),
    "package": Wrong(
        text=HEAD + "source: {package: no-such-thing, files: {config.json: a.json}}\nmodel: {}\n",
        says="the package no-such-thing is not installed",
    ),
    "package-file": Wrong(
        text=HEAD + "source: {package: doit, files: {tokenizer.json: a.json}}\n"
        "tokenizer: {method: keep}\n",
        says="ships no a.json",
    ),
    "tokenizer-class": Wrong(
        text=HEAD + "tokenizer: {method: scratch, class: BretTokenizer, vocab: [a, b]}\n",
        says="transformers has no tokenizer class BretTokenizer",
    ),
    "no-tokenizer": Wrong(
        text=HEAD + "source: {transformers: vit}\ntokenizer: {vocab_size: 300}\nmodel: {}\n",
        says="this model type has no blank tokenizer of its own",
    ),
    "no-tokenizer-in-a-folder": Wrong(
        text=HEAD + "source: {path: sources/odd}\ntokenizer: {vocab_size: 300}\n",
        says="the source has no tokenizer",
    ),
    "vocabulary": Wrong(
        text=HEAD + "source: {path: sources/words}\ntokenizer: {vocab_size: 300}\n",
        says="vocab_size 300 is more than the source's 7 tokens",
    ),
    "text": Wrong(
        text=GPT2 + "tokenizer: {vocab_size: 300, text: [{file: nowhere.txt}]}\n",
        says="there is no nowhere.txt",
    ),
    "records": Wrong(
        text=HEAD + "dataset: {records: records/nowhere}\n", says="there is no records/nowhere"
    ),
    "split": Wrong(
        text=HEAD + "dataset: {source: {path: sources/rows, split: dev}, samples: 1}\n",
        says="the source has no split dev",
    ),
    "files": Wrong(
        text=HEAD + "dataset: {source: {path: sources/rows, data_files: '*.csv'}, samples: 1}\n",
        says="no file of the folder is as '*.csv' says",
    ),
    "made-from-another": Wrong(
        text=HEAD + "source: {recipe: llama}\nmodel: {config: {n_layer: 8}}\n",
        says="LlamaConfig has no 'n_layer'",
    ),
    "lock": Wrong(
        text=HEAD + "source: {hub: org/name, revision: v2}\nmodel: {}\n",
        says="lock.lock.json: source.revision is 'v2' in the recipe; the lock has 'v1'\n"
        "  hint: tinybuild update lock",
    ),
}


class Here(Pool):
    """Does in this process what workers would do, and notes of which sort they were."""

    def __init__(self) -> None:
        super().__init__()
        self.sorts: list[Sort] = []

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        self.sorts.append(sort)
        return call(function, argument)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("review") / "zoo", llama=FULL, rows=LIGHT)
    for name, wrong in WRONG.items():
        (root / "recipes" / f"{name}.yaml").write_text(wrong.text)
    (root / "recipes/lock.lock.json").write_text(json.dumps(LOCK))
    sources = root / "recipes/sources"
    for name in ("words", "odd", "rows"):
        (sources / name).mkdir(parents=True)
    (sources / "words/vocab.txt").write_text("[PAD]\n[UNK]\na\n##b\n")
    (sources / "words/tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (sources / "odd/config.json").write_text('{"model_type": "odd_model"}')
    (sources / "rows/train.jsonl").write_text('{"a": 1}\n')
    return root


@pytest.fixture
def reviewer(root: Path, tmp_path: Path) -> Reviewer:
    memo = Memo(tmp_path / "digests.json")
    zoo = load(root, memo, Cache(tmp_path / "recipes.json", memo))
    assert not zoo.broken
    return Reviewer(zoo=zoo, builder=Builder(root, memo, Here()), scratch=tmp_path)


@pytest.mark.parametrize("name", WRONG)
def test_what_no_build_can_make_is_found(reviewer: Reviewer, name: str) -> None:
    seen = reviewer.review(name)
    assert WRONG[name].says in "\n".join(map(str, seen.findings))
    assert len(seen.findings) == 1, seen.findings


def test_what_can_be_built_is_not_refused(reviewer: Reviewer) -> None:
    for name in ("llama", "rows"):
        seen = reviewer.review(name)
        assert (seen.findings, seen.unseen) == ([], [])


def test_only_models_and_tokenizers_ask_transformers(reviewer: Reviewer) -> None:
    pool = reviewer.builder.pool
    assert isinstance(pool, Here)
    for name in ("rows", "split", "records", "lock", "no-path"):
        reviewer.review(name)
    assert set(pool.sorts) == {"light"}
