"""Each check is proved by a mutant: a bundle with one thing broken, which that check must find."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kit.files import contents, edit
from kit.models import weights
from kit.stage import MakeJob
from kit.vocabularies import pieces

from tinybuild import bundle, corpus, model, validate, wire
from tinybuild.dataset import stage as dataset
from tinybuild.errors import CheckFault
from tinybuild.expected.format import FILES
from tinybuild.source import blank_tokenizer
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.validate import shrunk
from tinybuild.validate import tokenizer as checked
from tinybuild.validate.subject import Subject
from tinybuild.workers import Job

SIZE = 600
CONFIG = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


class Built:
    """The folders of the tokenizer, model and dataset stages, and their facts."""

    def __init__(self, root: Path):
        self.root = root
        self.facts: dict[str, Any] = {}
        self.wish: dict[str, Any] = {"config": {}}

    @property
    def inputs(self) -> dict[str, Path]:
        return {name: self.root / name for name in self.facts}

    def stage(self, name: str, function: Any, settings: Any, **facts: Any) -> None:
        out = self.root / name
        out.mkdir(parents=True)
        inputs = {"fetch": self.root / "fetch"}
        work = Job(
            task="x", settings=settings, inputs=inputs, facts=facts, root=self.root, out=out, seed=7
        )
        self.facts[name] = wire.dump(function(work))


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A tiny Llama with a trained tokenizer and a dataset, all of which pass."""
    from transformers import LlamaConfig

    built = Built(tmp_path_factory.mktemp("sound"))
    found = blank_tokenizer("llama")
    assert found is not None
    found.save_pretrained(built.root / "fetch" / "source")
    LlamaConfig().save_pretrained(built.root / "fetch" / "source")
    section = {"method": "train", "vocab_size": SIZE}
    common = {"slot": "source", "kind": "transformers", "blank": True, "related": True}
    built.stage("tokenizer", tokenizer.make, {"tokenizer": section, **common})
    wish = {"architecture": "LlamaForCausalLM", "config": CONFIG, "dtype": "float32"}
    wish["shrink"] = "none"
    settings = {"model": wish, "max_parameters": 1_000_000}
    built.stage("model", model.make, settings, tokenizer=built.facts["tokenizer"])
    built.wish = {"config": CONFIG}
    rows = {"samples": 5, "select": "first"}
    built.stage("dataset", dataset.make, {"dataset": rows})
    return built


TEMPLATE = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"


@pytest.fixture(scope="session")
def shrunken(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """500 of the tokens of a Llama-like SentencePiece model, which has a chat template."""
    built = Built(tmp_path_factory.mktemp("shrunken"))
    model = pieces(
        "bpe",
        tuple(corpus.texts()),
        vocab_size=1800,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    source = built.root / "fetch" / "source"
    source.mkdir(parents=True)
    (source / "spiece.model").write_bytes(model)
    (source / "chat_template.jinja").write_text(TEMPLATE)
    section = {"method": "corpus", "vocab_size": 500}
    common = {"slot": "source", "kind": "path", "blank": False, "related": True}
    built.stage("tokenizer", tokenizer.make, {"tokenizer": section, **common})
    return built


@pytest.fixture
def cut(shrunken: Built, tmp_path: Path) -> Built:
    """A copy of it to break."""
    return copied(shrunken, tmp_path, "fetch")


def copied(sound: Built, place: Path, *more: str) -> Built:
    mutant = Built(place / "mutant")
    for name in (*sound.facts, *more):
        shutil.copytree(sound.root / name, mutant.root / name)
    mutant.facts, mutant.wish = copy.deepcopy(sound.facts), copy.deepcopy(sound.wish)
    return mutant


@pytest.fixture
def built(sound: Built, tmp_path: Path) -> Built:
    """A copy of it to break."""
    return copied(sound, tmp_path, "fetch")


def validating(job: MakeJob, built: Built, *stages: str, **checks: Any) -> Job:
    kept = stages or tuple(built.facts)
    compat = {"compat": True} if checks.pop("compat", False) else {}
    settings: dict[str, Any] = {"checks": {"max_parameters": 1_000_000, **checks}, **compat}
    folders = {name: built.inputs[name] for name in kept}
    if built.facts.get("tokenizer", {}).get("shrunk"):
        settings["source"] = {"slot": "source", "class": None}
        folders["fetch"] = built.root / "fetch"
    if "model" in kept:
        settings["model"] = {"shrink": "none", **built.wish}
        folders["fetch"] = built.root / "fetch"
    return job(settings, facts={name: built.facts[name] for name in kept}, **folders)


def failures(job: MakeJob, built: Built, *stages: str, **checks: Any) -> dict[str, str]:
    """{name of the failed check: what is said of it}; nothing may be left behind."""
    work = validating(job, built, *stages, **checks)
    with pytest.raises(CheckFault) as caught:
        validate.make(work)
    assert [path.name for path in work.out.iterdir()] == ["report.json"]
    *broken, passed = caught.value.findings
    assert passed.what.startswith("passed: ")
    found = {}
    for finding in broken:
        _, _, names = finding.what.partition(" failed: ")[0].partition(" ")
        for name in names.split(", "):  # those that failed alike are said together
            assert name not in passed.what.removeprefix("passed: ").split(", ")
            found[name] = f"{finding.what} / {finding.hint}"
    return found


# --- sound ----------------------------------------------------------------------------------------


def test_a_sound_bundle_passes_every_check(job: MakeJob, sound: Built) -> None:
    work = validating(job, sound, max_bytes=4_000_000)
    facts = validate.make(work)
    report = json.loads((work.out / "report.json").read_text())
    assert {*contents(work.out)} == {*FILES, "report.json"}
    names = [check["name"] for check in report["checks"]]
    assert names == [
        *("tokenizer_loads", "ids_without_holes", "special_tokens", "one_cutting", "round_trip"),
        *("reload", "dtype", "initialised", "max_parameters"),
        *("overrides_read", "ids_in_vocabulary", "coherent_ids", "no_dimension_left"),
        *("forward", "backward", "gradients", "inputs_matter", "generate", "generation_differs"),
        *("trains", "fresh_process", "from_bundle", "expected_outputs"),
        *("self_contained", "dataset_loads", "rows_train", "least_version", "max_bytes"),
    ]
    assert report["version"] == 1
    for check in report["checks"]:
        assert check["state"] == "passed"
        assert check["measured"]
        assert check["wanted"]
    assert (facts.checks, facts.untried) == (len(names), 0)
    laid = work.out / "laid"
    laid.mkdir()
    bundle.lay(sound.inputs, laid, sound.facts["model"]["length"])
    port = sum((work.out / name).stat().st_size for name in FILES)
    assert facts.bytes == bundle.size(laid) + port


@pytest.mark.usefixtures("no_network")
def test_nothing_is_asked_of_the_network(job: MakeJob, sound: Built) -> None:
    assert validate.make(validating(job, sound)).checks == 27


def test_the_report_is_the_same_twice_and_names_no_place(
    job: MakeJob, sound: Built, tmp_path: Path
) -> None:
    reports = []
    for _ in range(2):
        work = validating(job, sound)
        validate.make(work)
        reports.append(contents(work.out))
    assert reports[0] == reports[1]
    assert str(tmp_path).encode() not in reports[0]["report.json"]


WHOLE = ("self_contained", "least_version")  # of all files


def test_a_stage_alone_gets_only_its_checks(job: MakeJob, sound: Built) -> None:
    cutting = ("special_tokens", "one_cutting", "round_trip")
    asked = {
        "tokenizer": ["tokenizer_loads", "ids_without_holes", *cutting, *WHOLE],
        "dataset": ["dataset_loads"],
    }
    for stage, names in asked.items():
        work = validating(job, sound, stage)
        assert validate.make(work).checks == len(names)
        report = json.loads((work.out / "report.json").read_text())
        assert [check["name"] for check in report["checks"]] == names


# --- a shrunken tokenizer -------------------------------------------------------------------------


def test_a_sound_shrunken_tokenizer_passes_every_check(job: MakeJob, shrunken: Built) -> None:
    work = validating(job, shrunken)
    validate.make(work)
    report = json.loads((work.out / "report.json").read_text())
    assert [check["name"] for check in report["checks"]] == [
        *("tokenizer_loads", "ids_without_holes", "special_tokens", "one_cutting"),
        *(
            "vocabulary_mapped",
            "same_pipeline",
            "segmentation",
            "special_strings",
            "chat_template",
            "batches",
        ),
        *("formats_agree", "self_contained", "least_version"),
    ]
    compared = {check["name"]: check["values"] for check in report["checks"]}["formats_agree"]
    assert compared["texts"] > 0


def test_a_map_that_leads_to_other_tokens(job: MakeJob, cut: Built) -> None:
    def swap(data: Any) -> None:
        first, second = list(data["old_to_new"])[300:302]
        ids = data["old_to_new"]
        ids[first], ids[second] = ids[second], ids[first]

    edit(cut.root / "tokenizer" / "vocab_map.json", swap)
    assert "became" in failures(job, cut)["vocabulary_mapped"]


def test_another_normaliser(job: MakeJob, cut: Built) -> None:
    def lower(data: Any) -> None:
        data["normalizer"]["normalizers"].insert(0, {"type": "Lowercase"})

    edit(cut.root / "tokenizer" / "tokenizer.json", lower)
    found = failures(job, cut)
    assert "loaded: another normalizer" in found["same_pipeline"]
    assert "comes back with 'the kettle" in found["segmentation"]


def test_an_unknown_token_of_a_slow_class_counts_as_lost_on_either_side() -> None:
    """SMaLL-100's SentencePiece model makes pieces that its vocab.json lacks."""

    class Slow:
        is_fast, unk_token_id = False, 3

    slow: Any = Slow()
    losses = shrunk._Losses(slow, slow)
    assert losses.in_("a", [7, 3], [7, 8])
    assert losses.in_("a", [7, 8], [7, 3])
    assert not losses.in_("a", [7, 8], [7, 9])


def test_a_text_that_a_slow_class_cleaned_is_known_by_how_it_is_cut() -> None:
    """A line's end that is a word comes back as that word; ids are compared as texts alone have
    them."""

    class Slow:
        is_fast = False

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            ids = [2 if word == "eol" else 1 for word in text.replace("\n", " eol ").split()]
            return {"input_ids": [0, *ids, 0] if add_special_tokens else ids}

        def get_vocab(self) -> dict[str, int]:
            return {"s": 0, "a": 1, "eol": 2}

    slow: Any = Slow()
    assert checked._cleaned(slow, "a eol a", [1, 2, 1], "a\na")
    assert not checked._cleaned(slow, "a a", [1, 2, 1], "a\na!b")


def test_ids_beside_a_token_in_a_pipeline_are_those_that_it_has_now() -> None:
    part: Any = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    now = shrunk._renumbered([part, {"pad_id": 1, "ids": [2, 0]}], {0: 5, 1: 6, 2: 7})
    roberta: Any = {"type": "RobertaProcessing", "sep": ["</s>", 7], "cls": ["<s>", 5]}
    assert now == [roberta, {"pad_id": 6, "ids": [7, 5]}]


def test_letters_are_counted_as_the_normaliser_left_them() -> None:
    """Of ¼¼, which NFKC makes 1⁄41⁄4, the source knows ⁄, 4 and 41, but not 1 alone."""
    source, made = (_unigram(*pieces, "⁄", "4") for pieces in (("41",), ()))
    losses, ids = shrunk._Losses(source, made), {}
    for text in ("¼", "¼¼"):
        ids[text] = [[*tokenizer(text)["input_ids"]] for tokenizer in (source, made)]
    assert losses.in_("¼¼", *ids["¼¼"])
    assert not losses.in_("¼", *ids["¼"])


def _unigram(*pieces: str) -> Any:
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = [("<unk>", 0.0), *((piece, -len(piece) / 4) for piece in pieces)]
    model = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=0))
    model.normalizer = tokenizers.normalizers.NFKC()
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>")


def test_an_id_that_the_template_kept(job: MakeJob, cut: Built) -> None:
    def stale(data: Any) -> None:
        data["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1700], "tokens": ["<s>"]}},
        }

    edit(cut.root / "tokenizer" / "tokenizer.json", stale)
    found = failures(job, cut)
    assert "another post_processor" in found["same_pipeline"]
    assert "special_tokens" in found


def test_a_merge_that_is_missing(job: MakeJob, cut: Built) -> None:
    def lose(data: Any) -> None:
        del data["model"]["merges"][5]

    edit(cut.root / "tokenizer" / "tokenizer.json", lose)
    assert "is cut otherwise" in failures(job, cut)["segmentation"]


def test_a_merge_in_another_place(job: MakeJob, cut: Built) -> None:
    def turn(data: Any) -> None:
        data["model"]["merges"].reverse()

    edit(cut.root / "tokenizer" / "tokenizer.json", turn)
    assert "is cut otherwise" in failures(job, cut)["segmentation"]


def test_a_special_token_that_is_cut(job: MakeJob, cut: Built) -> None:
    def wide(data: Any) -> None:
        for token in data["added_tokens"]:
            token["lstrip"] = True

    edit(cut.root / "tokenizer" / "tokenizer.json", wide)
    assert "gives [" in failures(job, cut)["special_strings"]


def test_another_chat_template(job: MakeJob, cut: Built) -> None:
    path = cut.root / "tokenizer" / "chat_template.jinja"
    path.write_text(TEMPLATE.replace("</s>", ""))
    assert "writes other text" in failures(job, cut)["chat_template"]


def test_another_way_to_truncate(job: MakeJob, cut: Built) -> None:
    edit(
        cut.root / "tokenizer" / "tokenizer_config.json",
        lambda data: data.update(truncation_side="left"),
    )
    found = failures(job, cut)
    assert list(found) == ["batches"]
    assert "truncated: " in found["batches"]


def test_a_model_that_lost_a_piece(job: MakeJob, cut: Built) -> None:
    from tinybuild.tokenizer import spm

    path = cut.root / "tokenizer" / "spiece.model"
    proto = spm.read(path)
    pieces = [piece.piece for piece in proto.pieces if piece.type == spm.NORMAL]
    path.write_bytes(spm.cut(proto, {p.piece for p in proto.pieces} - {pieces[3]}))
    found = failures(job, cut)
    assert list(found) == ["one_cutting", "formats_agree"]
    assert "spiece.model cuts " in found["one_cutting"]
    assert "spiece.model: " in found["formats_agree"]


# --- tokenizer ------------------------------------------------------------------------------------


def test_a_hole_in_the_ids(job: MakeJob, built: Built) -> None:
    def move_last(data: Any) -> None:
        vocab = data["model"]["vocab"]
        vocab[max(vocab, key=vocab.__getitem__)] += 5

    edit(built.root / "tokenizer" / "tokenizer.json", move_last)
    found = failures(job, built, "tokenizer")
    assert (
        f"1 holes (first {SIZE - 1}), 1 ids past the end (last {SIZE + 4})"
        in (found["ids_without_holes"])
    )


@pytest.mark.chance
def test_an_id_used_twice(job: MakeJob, built: Built) -> None:
    def double(data: Any) -> None:
        vocab = data["model"]["vocab"]
        names = sorted(vocab, key=vocab.__getitem__)
        vocab[names[-1]] = vocab[names[-2]]

    edit(built.root / "tokenizer" / "tokenizer.json", double)
    assert "ids_without_holes" in failures(job, built, "tokenizer")


def test_another_number_of_tokens(job: MakeJob, built: Built) -> None:
    built.facts["tokenizer"]["vocab_size"] = SIZE + 1
    found = failures(job, built, "tokenizer")
    assert list(found) == ["tokenizer_loads"]
    assert (
        f"measured LlamaTokenizer, {SIZE} tokens, wanted LlamaTokenizer, {SIZE + 1}"
        in (found["tokenizer_loads"])
    )


def test_another_tokenizer_class(job: MakeJob, built: Built) -> None:
    built.facts["tokenizer"]["class"] = "GPT2Tokenizer"
    assert list(failures(job, built, "tokenizer")) == ["tokenizer_loads"]


def test_a_tokenizer_that_does_not_load(job: MakeJob, built: Built) -> None:
    (built.root / "tokenizer" / "tokenizer.json").write_text("{")
    found = failures(job, built, "tokenizer")
    assert list(found) == [
        *("tokenizer_loads", "ids_without_holes", "special_tokens", "one_cutting", "round_trip"),
        "least_version",  # by what tokenizer.json needs
    ]
    assert all("wanted no error" in text for text in found.values())


def test_a_template_with_an_id_past_the_end(job: MakeJob, built: Built) -> None:
    """What train_new_from_iterator leaves in a Sequence."""

    def stale(data: Any) -> None:
        data["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [32_000], "tokens": ["<s>"]}},
        }

    edit(built.root / "tokenizer" / "tokenizer.json", stale)
    # another class would build its own template from the roles
    edit(
        built.root / "tokenizer" / "tokenizer_config.json",
        lambda data: {**data, "tokenizer_class": "TokenizersBackend"},
    )
    built.facts["tokenizer"]["class"] = "TokenizersBackend"
    found = failures(job, built, "tokenizer")
    assert list(found) == ["special_tokens"]
    assert "id 32000 in an encoded text" in found["special_tokens"]


def test_a_special_token_whose_id_is_past_the_end(job: MakeJob, built: Built) -> None:
    def leave_hole(data: Any) -> None:
        vocab = data["model"]["vocab"]
        last = max(vocab, key=vocab.__getitem__)
        vocab["<late>"] = vocab[last] + 50
        extra = dict(data["added_tokens"][0], id=vocab["<late>"], content="<late>")
        data["added_tokens"].append(extra)

    edit(built.root / "tokenizer" / "tokenizer.json", leave_hole)
    edit(
        built.root / "tokenizer" / "tokenizer_config.json",
        lambda data: {**data, "eos_token": "<late>"},
    )
    built.facts["tokenizer"]["vocab_size"] = SIZE + 1
    found = failures(job, built, "tokenizer")
    assert f"<late> has id {SIZE + 49}" in found["special_tokens"]
    assert "ids_without_holes" in found


def test_a_decoder_that_loses_text(job: MakeJob, built: Built) -> None:
    def lose(data: Any) -> None:
        drop = {"type": "Replace", "pattern": {"String": "e"}, "content": ""}
        data["decoder"]["decoders"].append(drop)

    edit(built.root / "tokenizer" / "tokenizer.json", lose)
    edit(
        built.root / "tokenizer" / "tokenizer_config.json",
        lambda data: {**data, "tokenizer_class": "TokenizersBackend"},
    )
    built.facts["tokenizer"]["class"] = "TokenizersBackend"
    found = failures(job, built, "tokenizer")
    assert list(found) == ["round_trip"]
    assert "came back as" in found["round_trip"]


def test_bytes_that_are_lost_without_a_trace(job: MakeJob, built: Built) -> None:
    """A tokenizer that falls back to bytes which are not in its vocabulary drops characters."""

    def unbyte(data: Any) -> None:
        vocab = data["model"]["vocab"]
        data["model"]["vocab"] = {
            token.replace("<0x", "<1x"): number for token, number in vocab.items()
        }
        data["model"]["unk_token"] = None

    edit(built.root / "tokenizer" / "tokenizer.json", unbyte)
    edit(
        built.root / "tokenizer" / "tokenizer_config.json",
        lambda data: {**data, "tokenizer_class": "TokenizersBackend"},
    )
    built.facts["tokenizer"]["class"] = "TokenizersBackend"
    assert "round_trip" in failures(job, built, "tokenizer")


# --- model ----------------------------------------------------------------------------------------


def test_a_nan_weight(job: MakeJob, built: Built) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = float("nan")

    weights(built.root / "model", spoil)
    found = failures(job, built, "model")
    assert {"forward", "backward"} <= set(found)
    assert "not finite: " in found["forward"]
    assert "a smaller model.initializer_range" in found["forward"]
    assert "reload" not in found


def test_a_missing_tensor(job: MakeJob, built: Built) -> None:
    def drop(tensors: dict[str, Any]) -> None:
        del tensors["model.norm.weight"]

    weights(built.root / "model", drop)
    found = failures(job, built, "model")
    assert "missing_keys" in found["reload"]
    assert "model.norm.weight" in found["reload"]


def test_a_tensor_too_many(job: MakeJob, built: Built) -> None:
    def add(tensors: dict[str, Any]) -> None:
        tensors["model.extra.weight"] = tensors["model.norm.weight"].clone()

    weights(built.root / "model", add)
    found = failures(job, built, "model")
    assert list(found) == ["reload", "fresh_process"]
    assert "unexpected_keys" in found["reload"]


def test_a_tensor_of_another_shape(job: MakeJob, built: Built) -> None:
    def cut(tensors: dict[str, Any]) -> None:
        tensors["model.norm.weight"] = tensors["model.norm.weight"][:-1].clone()

    weights(built.root / "model", cut)
    assert "reload" in failures(job, built, "model")


def test_a_wrong_dtype(job: MakeJob, built: Built) -> None:
    built.facts["model"]["dtype"] = "bfloat16"
    found = failures(job, built, "model")
    assert list(found) == ["dtype"]
    assert "measured lm_head.weight (float32), " in found["dtype"]
    assert "wanted bfloat16" in found["dtype"]


@pytest.mark.parametrize(
    ("file", "change", "largest"),
    [
        ("generation_config.json", {"eos_token_id": 5000}, 5000),
        ("generation_config.json", {"suppress_tokens": [1, 601]}, 601),
        ("generation_config.json", {"forced_bos_token_id": SIZE}, SIZE),
        ("config.json", {"bos_token_id": 32_000}, 32_000),
    ],
)
def test_an_id_past_the_vocabulary(
    job: MakeJob, built: Built, file: str, change: dict[str, Any], largest: int
) -> None:
    edit(built.root / "model" / file, lambda data: {**data, **change})
    found = failures(job, built, "model")
    assert f"measured largest id {largest}, wanted less than {SIZE}" in found["ids_in_vocabulary"]


def test_a_tokenizer_larger_than_the_embedding(job: MakeJob, built: Built) -> None:
    def add(data: Any) -> None:
        vocab = data["model"]["vocab"]
        vocab["zzzz"] = len(vocab)

    edit(built.root / "tokenizer" / "tokenizer.json", add)
    built.facts["tokenizer"]["vocab_size"] = SIZE + 1
    found = failures(job, built, "tokenizer", "model")
    assert list(found) == ["ids_in_vocabulary"]
    assert f"largest id {SIZE}, wanted less than {SIZE}" in found["ids_in_vocabulary"]


def test_no_gradient_anywhere(job: MakeJob, built: Built) -> None:
    def kill(tensors: dict[str, Any]) -> None:
        for tensor in tensors.values():
            tensor.zero_()

    weights(built.root / "model", kill)
    found = failures(job, built, "model")
    assert "gradients in 0 of " in found["backward"]


def test_generation_that_cannot_be(job: MakeJob, built: Built) -> None:
    edit(
        built.root / "model" / "generation_config.json",
        lambda data: {**data, "num_return_sequences": 3},
    )
    found = failures(job, built, "model")
    assert "generate" in found
    assert "num_return_sequences" in found["generate"]
    assert "raised in " in found["generate"]


def test_another_process_reads_other_weights(
    job: MakeJob, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only this process holds, as a builder would that forgets to save it."""
    load = Subject._loaded.func

    def drifting(self: Subject) -> Any:
        loaded, info = load(self)
        loaded.model.norm.weight.data += 1.0
        return loaded, info

    monkeypatch.setattr(Subject._loaded, "func", drifting)
    found = failures(job, built, "model")
    assert list(found) == ["fresh_process", "expected_outputs"]
    assert "output logits at row 0, position 0: expected " in found["expected_outputs"]
    assert "other weights in model.norm.weight; other outputs in " in found["fresh_process"]


@pytest.mark.parametrize(("most", "counted"), [(10, None), (1_000_000, 12_345)])
def test_the_number_of_parameters(
    job: MakeJob, built: Built, most: int, counted: int | None
) -> None:
    if counted is not None:
        built.facts["model"]["parameters"] = counted
    found = failures(job, built, "model", max_parameters=most)
    assert list(found) == ["max_parameters"]
    assert f"at most {most:,}" in found["max_parameters"]


@pytest.mark.chance
def test_another_class_than_the_receipt_names(job: MakeJob, built: Built) -> None:
    built.facts["model"]["class"] = "LlamaForSequenceClassification"
    assert "reload" in failures(job, built, "model")


# --- dataset and bundle ---------------------------------------------------------------------------


def parquet(folder: Path) -> Path:
    return folder / "dataset" / "data" / "train-00000-of-00001.parquet"


def test_a_row_is_missing(job: MakeJob, built: Built) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(parquet(built.root))
    pyarrow.parquet.write_table(table.slice(1), parquet(built.root))
    found = failures(job, built, "dataset")
    assert list(found) == ["dataset_loads"]
    assert (
        "measured 4 rows of text, kind; default/train: the card says 5 rows, its files have 4"
        in (found["dataset_loads"])
    )
    assert "wanted 5 rows of text, kind" in found["dataset_loads"]


def test_a_column_has_another_name(job: MakeJob, built: Built) -> None:
    built.facts["dataset"]["columns"] = [["words", "string"]]
    assert "wanted 5 rows of words" in failures(job, built, "dataset")["dataset_loads"]


def test_a_dataset_that_does_not_load(job: MakeJob, built: Built) -> None:
    parquet(built.root).write_bytes(b"PAR1")
    assert "wanted no error" in failures(job, built, "dataset")["dataset_loads"]


def test_max_bytes(job: MakeJob, built: Built) -> None:
    found = failures(job, built, max_bytes=1000)
    assert list(found) == ["max_bytes"]
    assert (
        "bytes, wanted at most 1,000 / raise checks.max_bytes, or make the largest files smaller: "
        "model.safetensors" in (found["max_bytes"])
    )


def test_checks_that_fail_alike_are_said_together(job: MakeJob, built: Built) -> None:
    (built.root / "model/model.safetensors").unlink()
    found = failures(job, built)
    assert len(found) > 10
    assert len(set(found.values())) < 4
    assert found["reload"] == found["forward"]
    assert found["reload"].startswith("checks reload, ")


def test_the_least_version(job: MakeJob, sound: Built) -> None:
    assert failures(job, sound, compat=True) == {
        "least_version": "check least_version failed: measured transformers 5.0, wanted "
        "transformers 4.57 / older ones do not read tokenizer.json as LlamaTokenizer: there its "
        "text begins with <s>"
    }


def test_all_that_is_broken_is_reported_together(job: MakeJob, built: Built) -> None:
    import pyarrow.parquet

    def spoil(tensors: dict[str, Any]) -> None:
        tensors["model.embed_tokens.weight"].fill_(float("nan"))

    def lose(data: Any) -> None:
        vocab = data["model"]["vocab"]
        vocab[max(vocab, key=vocab.__getitem__)] += 5

    edit(built.root / "tokenizer" / "tokenizer.json", lose)
    weights(built.root / "model", spoil)
    built.facts["model"]["dtype"] = "float16"
    table = pyarrow.parquet.read_table(parquet(built.root))
    pyarrow.parquet.write_table(table.slice(1), parquet(built.root))
    found = failures(job, built, max_bytes=1)
    assert {
        *("ids_without_holes", "dtype", "ids_in_vocabulary", "forward", "backward"),
        *("dataset_loads", "max_bytes"),
    } <= set(found)


def test_every_check_has_a_mutant() -> None:
    """A new check needs a mutant here: this counts the checks there are."""
    names = {check.name for check in validate.CHECKS}
    assert names == {
        *("tokenizer_loads", "ids_without_holes", "special_tokens", "round_trip"),
        *("vocabulary_mapped", "same_pipeline", "segmentation", "special_strings"),
        *("chat_template", "batches", "formats_agree"),
        *("reload", "dtype", "max_parameters", "ids_in_vocabulary", "forward", "backward"),
        *(
            "generate",
            "fresh_process",
            "expected_outputs",
            "dataset_loads",
            "max_bytes",
            "least_version",
        ),
        "one_cutting",  # here, and in tests/tokenizer/test_cutting.py
        # tests/validate/test_model.py
        *("weights_tied", "initialised", "overrides_read", "coherent_ids", "every_layer_kind"),
        *("layer_indexes", "no_dimension_left", "gradients", "inputs_matter", "distinctions_kept"),
        *("every_modality", "generation_differs", "trains", "self_contained"),
        "learns_from_labels",
        "features_matter",  # tests/validate/test_features.py
        "from_bundle",  # tests/validate/test_client.py
        *("processor_tokens", "processor_feeds_model"),  # tests/feeding/test_processor.py
        "rows_train",  # tests/validate/test_pairs.py
        # tests/validate/test_formats.py
        *("shards", "pickled", "adapters", "sentence_transformer", "gguf"),
    }
