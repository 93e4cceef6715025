"""A recipe's own rows train its model: each kind of pair, and the mutants that the check finds."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kit import bundles, tables
from kit.files import edit

from tinybuild.dataset import values
from tinybuild.validate import batches, pairs
from tinybuild.validate.check import Result
from tinybuild.validate.subject import Subject

TEXTS = (
    "The train to the coast leaves at nine, and it is full every morning.",
    "A cat sat on the wall.",
    "Rain fell all day; the river rose by a metre.",
    "Who has seen the wind?",
    "Bread, salt and a cup of tea stood on the table.",
    "She wrote the letter twice and sent neither.",
)
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
PLAIN = {k: v for k, v in TEXT.items() if k not in ("num_key_value_heads", "head_dim")}
VISION = {**PLAIN, "image_size": 32, "patch_size": 8}
TOWERS = {"text_config": TEXT, "vision_config": VISION}
CLIP = ("clip", "CLIPModel", {"text_config": PLAIN, "vision_config": VISION})
LLAMA = ("llama", "LlamaForCausalLM", {**PLAIN, "max_position_embeddings": 64})
BERT = {**PLAIN, "max_position_embeddings": 16}
T5 = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 2, "num_heads": 2}
BART = {
    "d_model": 16,
    **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
}
WHISPER = (
    "whisper",
    "WhisperForConditionalGeneration",
    {**BART, "max_source_positions": 40, "max_target_positions": 20},
)
WAVES = {
    **PLAIN,
    "conv_dim": [8, 8],
    "conv_stride": [5, 4],
    "conv_kernel": [10, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
LLAVA = ("llava", "LlavaForConditionalGeneration", TOWERS)

Rows = tuple[Any, Sequence[Mapping[str, Any]]]  # features, rows
Build = Callable[..., Subject]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """built(type, class, config, rows, words=a type): a bundle of the type's defaults, once; its
    tokenizer is trained, of the type or of another (None: it has none)."""
    kept: dict[str, tuple[Path, dict[str, Any]]] = {}

    def make(
        kind: str, name: str, config: Mapping[str, Any], rows: Rows, words: str | None = ""
    ) -> Subject:
        words = kind if words == "" else words
        key = f"{kind} {name} {config} {words}"
        if key not in kept:
            kept[key] = build(kind, name, config, words)
        packed, facts = kept[key]
        place = tmp_path_factory.mktemp("bundle")
        shutil.copytree(packed, place / "bundle")
        (place / "scratch").mkdir()
        return Subject(
            folder=place / "bundle",
            scratch=place / "scratch",
            facts={**facts, "dataset": write(place / "bundle" / "dataset", *rows)},
            seed=0,
        )

    def build(
        kind: str, name: str, config: Mapping[str, Any], words: str | None
    ) -> tuple[Path, dict[str, Any]]:
        root = tmp_path_factory.mktemp(kind)

        section = None
        if words is not None:
            wide = words in ("bert", "t5")  # a token for each letter of the text, twice
            section = {"method": "train", "vocab_size": 2500 if wide else 500}
        return bundles.laid(root, (kind, name, config), section, words)

    return make


@pytest.fixture(autouse=True)
def batches_held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a step is made from is held to the table: shapes, and of whole numbers their sums."""
    rows, plain = dict[str, str](), pairs.batches

    def kept(subject: Subject, config: str) -> batches.Batches | None:
        made = plain(subject, config)
        if made is not None:
            sides = {"parts": made.parts, "worse": made.worse}
            given = {
                f"{side}.{number}.{name}": shown(value)
                for side, parts in sides.items()
                for number, part in enumerate(parts)
                for name, value in part.items()
            }
            said = {**vars(made), **sides, **given}
            rows[f"{request.node.name} {config} batch"] = tables.row(
                {name: value for name, value in said.items() if name not in sides}
            )
        return made

    monkeypatch.setattr(pairs, "batches", kept)
    yield
    tables.held(__file__, rows)


def shown(value: Any) -> str:
    whole = not value.is_floating_point() if hasattr(value, "shape") else False
    shape = list(getattr(value, "shape", ()))
    return f"{shape} {int(value.sum()) if whole else ''}".replace(" ", "")


def write(folder: Path, features: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A dataset of one split as the dataset stage leaves it; its facts."""
    import pyarrow
    from pyarrow import parquet

    (folder / "data").mkdir(parents=True)
    columns = [values.build([row[name] for row in rows], f) for name, f in features.items()]
    table = pyarrow.Table.from_arrays(columns, schema=features.arrow_schema)
    parquet.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return {
        "rows": len(rows),
        "columns": [[name, "x"] for name in features],
        "configs": {"default": {"train": len(rows)}},
    }


# --- rows -----------------------------------------------------------------------------------------


def picture(number: int, size: tuple[int, int] = (24, 16)) -> dict[str, Any]:
    from PIL import Image

    data = io.BytesIO()
    Image.effect_noise(size, 50 + number).convert("RGB").save(data, "png")
    return {"bytes": data.getvalue(), "path": None}


def noise(number: int, seconds: float = 0.5, rate: int = 16_000) -> dict[str, Any]:
    import numpy
    import soundfile

    data, drawn = io.BytesIO(), numpy.random.default_rng(number)
    soundfile.write(data, drawn.normal(0, 0.1, round(seconds * rate)), rate, format="WAV")
    return {"bytes": data.getvalue(), "path": None}


def texts(**more: Any) -> Rows:
    """Rows of text, and of a label or whatever is given (name=(feature, value of a number))."""
    from datasets import Features, Value

    features = Features({"text": Value("string"), **{k: f for k, (f, _) in more.items()}})
    rows = [
        {"text": text, **{k: value(n) for k, (_, value) in more.items()}}
        for n, text in enumerate(TEXTS)
    ]
    return features, rows


def labelled(count: int = 2, **more: Any) -> Rows:
    from datasets import ClassLabel

    names = [f"class {n}" for n in range(count)]
    return texts(label=(ClassLabel(names=names), lambda n: n % count), **more)


def without_text(rows: Rows) -> Rows:
    from datasets import Features

    features = Features({name: f for name, f in rows[0].items() if name != "text"})
    return features, [{name: row[name] for name in features} for row in rows[1]]


def images(**more: Any) -> Rows:
    from datasets import Image

    return texts(image=(Image(), picture), **more)


def sounds(**more: Any) -> Rows:
    from datasets import Audio

    return texts(audio=(Audio(sampling_rate=16_000), noise), **more)


def check(subject: Subject) -> Result:
    found = pairs.rows_train.run(subject)
    assert found is not None
    return found


# --- each kind of pair ----------------------------------------------------------------------------


def interleaved() -> Rows:
    """The cm4 layout: at each place a text or an image; the last row has no text."""
    from datasets import Features, Image, List, Value

    rows: list[Mapping[str, Any]] = [
        {"texts": [text, None, "The end."], "images": [None, picture(n), None]}
        for n, text in enumerate(TEXTS)
    ]
    rows.append({"texts": [None], "images": [picture(9)]})
    return Features({"texts": List(Value("string")), "images": List(Image())}), rows


def translated() -> Rows:
    from datasets import Features, Translation

    rows = [{"translation": {"en": text, "de": text[::-1]}} for text in TEXTS]
    return Features({"translation": Translation(["en", "de"])}), rows


def summed() -> Rows:
    from datasets import Features, Value

    features = Features({"article": Value("string"), "summary": Value("string")})
    return features, [{"article": text, "summary": text[:9]} for text in TEXTS]


def chats() -> Rows:
    from datasets import Features, List, Value

    features = Features({"messages": List({"role": Value("string"), "content": Value("string")})})
    said = ("user", "assistant")
    return features, [
        {"messages": [{"role": role, "content": text} for role in said]} for text in TEXTS
    ]


def tagged() -> Rows:
    from datasets import ClassLabel, Features, List, Value

    features = Features(
        {"tokens": List(Value("string")), "tags": List(ClassLabel(names=["O", "B"]))}
    )
    return features, [
        {"tokens": (words := text.split()), "tags": [n % 2 for n, _ in enumerate(words)]}
        for text in TEXTS
    ]


def scored() -> Rows:
    from datasets import Value

    return texts(label=(Value("float32"), lambda n: n / 3))


def pictured() -> Rows:
    from datasets import ClassLabel

    return without_text(images(label=(ClassLabel(names=["a", "b"]), lambda n: n % 2)))


def heard() -> Rows:
    from datasets import ClassLabel

    return without_text(sounds(label=(ClassLabel(names=["a", "b"]), lambda n: n % 2)))


def answered(**columns: Any) -> Rows:
    """Rows of columns of text, or of what is given (name=(feature, value of a row's number))."""
    from datasets import Features, Value

    rows = [{name: value(n) for name, (_, value) in columns.items()} for n, _ in enumerate(TEXTS)]
    kinds = {name: Value(f) if isinstance(f, str) else f for name, (f, _) in columns.items()}
    return Features(kinds), rows


def given(number: int) -> str:
    return TEXTS[number][:20]


def said(number: int) -> str:
    return TEXTS[number - 1]


def other(number: int) -> str:
    return TEXTS[number - 2]


def completed() -> Rows:
    return answered(prompt=("string", given), completion=("string", said))


def preferred() -> Rows:
    return answered(prompt=("string", given), chosen=("string", said), rejected=("string", other))


def preferred_chats() -> Rows:
    """Without a prompt of their own: both chats begin with it."""
    from datasets import List, Value

    feature = List({"role": Value("string"), "content": Value("string")})

    def chat(answer: Callable[[int], str]) -> Any:
        return lambda n: [
            {"role": "user", "content": given(n)},
            {"role": "assistant", "content": answer(n)},
        ]

    return answered(chosen=(feature, chat(said)), rejected=(feature, chat(other)))


def judged() -> Rows:
    return answered(
        prompt=("string", given), completion=("string", said), label=("bool", lambda n: n % 2 == 0)
    )


def instructed() -> Rows:
    return answered(
        id=("string", str),
        instruction=("string", given),
        input=("string", lambda n: "" if n % 2 else other(n)),
        output=("string", said),
    )


def calling() -> Rows:
    """Tool calls as Json, which is what datasets makes of objects with other keys in each row."""
    from datasets import Json, List

    def chat(number: int) -> list[str]:
        call = {"function": {"name": f"tool{number}", "arguments": {f"key{number}": number}}}
        return [
            json.dumps({"role": "user", "content": given(number)}),
            json.dumps({"role": "assistant", "tool_calls": [{"type": "function", **call}]}),
            json.dumps({"role": "tool", "name": "tool0", "content": said(number)}),
        ]

    tools = [json.dumps({"type": "function", "function": {"name": "tool0"}})]
    return answered(messages=(List(Json()), chat), tools=(List(Json()), lambda n: tools))


def turns() -> Rows:
    from datasets import List, Value

    feature = List({"from": Value("string"), "value": Value("string")})

    def chat(number: int) -> list[dict[str, str]]:
        return [{"from": "human", "value": given(number)}, {"from": "gpt", "value": said(number)}]

    return answered(conversations=(feature, chat))


def seen() -> Rows:
    """A chat about images that lie beside it."""
    from datasets import Image, List, Value

    feature = List(
        {
            "role": Value("string"),
            "content": List({"type": Value("string"), "text": Value("string")}),
        }
    )

    def chat(number: int) -> list[dict[str, Any]]:
        asks = [{"type": "image", "text": None}, {"type": "text", "text": given(number)}]
        answers = [{"type": "text", "text": said(number)}]
        return [{"role": "user", "content": asks}, {"role": "assistant", "content": answers}]

    return answered(images=(List(Image()), lambda n: [picture(n)]), messages=(feature, chat))


GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
VIT = ("vit", "ViTForImageClassification", VISION)
KINDS = {
    "causal-lm": (LLAMA, texts, "text"),
    "causal-lm without a token to pad with": (("gpt2", "GPT2LMHeadModel", GPT2), texts, "text"),
    "causal-lm of completions": (LLAMA, completed, "prompt and completion (prompt, completion)"),
    "causal-lm of preferences": (LLAMA, preferred, "preference (prompt, chosen, rejected)"),
    "causal-lm of good and bad answers": (LLAMA, judged, "KTO (prompt, completion, label)"),
    "seq2seq-lm of preferences": (
        ("t5", "T5ForConditionalGeneration", T5),
        preferred,
        "preference (prompt, chosen, rejected)",
    ),
    "seq2seq-lm of completions": (
        ("t5", "T5ForConditionalGeneration", T5),
        completed,
        "prompt and completion (prompt, completion)",
    ),
    "a reward": (
        ("bert", "BertForSequenceClassification", {**BERT, "num_labels": 1}),
        preferred,
        "preference (prompt, chosen, rejected)",
    ),
    "masked-lm": (("bert", "BertForMaskedLM", BERT), texts, "text"),
    "masked-lm whose positions begin after the padding": (
        ("roberta", "RobertaForMaskedLM", BERT),
        texts,
        "text",
    ),
    "seq2seq-lm of translations": (
        ("t5", "T5ForConditionalGeneration", T5),
        translated,
        "text, target (translation)",
    ),
    "seq2seq-lm of two columns": (
        ("bart", "BartForConditionalGeneration", {**BART, "max_position_embeddings": 12}),
        summed,
        "text, target (article, summary)",
    ),
    "sequence-classification": (
        ("bert", "BertForSequenceClassification", BERT),
        labelled,
        "text, label",
    ),
    "sequence-classification by the last token": (
        ("gpt2", "GPT2ForSequenceClassification", GPT2),
        labelled,
        "text, label",
    ),
    "regression": (
        ("bert", "BertForSequenceClassification", {**BERT, "num_labels": 1}),
        scored,
        "text, label",
    ),
    "several classes at once": (
        (
            "bert",
            "BertForSequenceClassification",
            {**BERT, "problem_type": "multi_label_classification"},
        ),
        labelled,
        "text, label",
    ),
    "token-classification": (
        ("bert", "BertForTokenClassification", BERT),
        tagged,
        "words, tags (tokens, tags)",
    ),
    "image-text-to-text": (LLAVA, images, "text, image"),
    "image-text-to-text of interleaved rows": (LLAVA, interleaved, "text, image (texts, images)"),
    "image-text-to-text with ends around the images": (
        ("gemma3", "Gemma3ForConditionalGeneration", {**TOWERS, "mm_tokens_per_image": 4}),
        images,
        "text, image",
    ),
    "image and text, compared": (CLIP, images, "text, image"),
    "image-classification": ((*VIT, None), pictured, "image, label"),
    "speech-seq2seq": (WHISPER, sounds, "audio, text"),
    "ctc": (
        ("wav2vec2", "Wav2Vec2ForCTC", {**WAVES, "vocab_size": 500}, "gpt2"),
        sounds,
        "audio, text",
    ),
    "audio-classification": (
        ("wav2vec2", "Wav2Vec2ForSequenceClassification", WAVES, None),
        heard,
        "audio, label",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_train(built: Build, kind: str) -> None:
    (name, cls, config, *words), rows, told = KINDS[kind]
    found = check(built(name, cls, config, rows(), *words))
    assert found.ok, found
    assert found.measured.startswith(f"6 rows of {told}: loss "), found
    assert found.measured.endswith(" parameters changed")
    assert found.note == ""
    assert found.wanted == "a finite loss, finite gradients, changed parameters"


SQUARE = "the outputs' mean square is learned: "
NOTED = {
    "no chat template": (
        LLAMA,
        chats,
        batches.UNTOLD,
    ),
    "no chat template for two chats": (LLAMA, preferred_chats, batches.UNTOLD),
    "no chat template for ShareGPT": (LLAMA, turns, batches.UNTOLD),
    "no chat template for tools": (LLAMA, calling, batches.UNTOLD),
    "no chat template for images": (LLAVA, seen, batches.UNTOLD),
    "columns that are not read": (LLAMA, instructed, "not trained on: id"),
    "images for a model of texts": (LLAMA, interleaved, "not trained on: images"),
    "the second of two texts": (LLAMA, summed, "not trained on: summary"),
    "a preference for a masked model": (
        ("bert", "BertForMaskedLM", BERT),
        preferred,
        "not trained on: rejected",
    ),
    "one text": (
        ("t5", "T5ForConditionalGeneration", T5),
        texts,
        "the rows have one text: it is its own target",
    ),
    "no labels": (
        ("bert", "BertForSequenceClassification", BERT),
        texts,
        f"{SQUARE}the rows have no labels",
    ),
    "no head": (("bert", "BertModel", BERT), texts, f"{SQUARE}{batches.UNKNOWN}"),
    "no head, and a decoder": (("t5", "T5Model", T5), texts, f"{SQUARE}{batches.UNKNOWN}"),
    "no head on images and texts": (
        ("llava", "LlavaModel", TOWERS),
        images,
        f"{SQUARE}{batches.UNKNOWN}",
    ),
    "no image": (LLAVA, texts, "the rows have no image: text alone"),
    "no tokenizer": (
        ("wav2vec2", "Wav2Vec2ForCTC", WAVES, None),
        sounds,
        f"{SQUARE}{batches.UNKNOWN} (texts and a tokenizer); not trained on: text",
    ),
}


@pytest.mark.parametrize("kind", NOTED)
def test_the_note_says_what_is_not_learned(built: Build, kind: str) -> None:
    (name, cls, config, *words), rows, note = NOTED[kind]
    subject = built(name, cls, config, rows(), *words)
    if note == batches.UNTOLD:
        (subject.folder / "chat_template.jinja").unlink()
    found = check(subject)
    assert (found.ok, found.note) == (True, note), found


UNFIT = {
    "an image model and texts": ((*VIT, None), texts),
    "a text model and images": (LLAMA, pictured),
    "a text model without a tokenizer": ((*LLAMA, None), texts),
    "two towers and texts": (CLIP, texts),
    "images without a word for a model of both": (LLAVA, pictured),
    "a speech model and texts": (WHISPER, texts),
    "choices that no row has": (("bert", "BertForMultipleChoice", BERT), texts),
    "rows without any text": (LLAMA, lambda: (texts()[0], [{"text": None}, {"text": ""}])),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_rows_that_the_model_does_not_read(built: Build, kind: str) -> None:
    (name, cls, config, *words), rows = UNFIT[kind]
    assert pairs.rows_train.run(built(name, cls, config, rows(), *words)) is None


def test_a_dataset_without_a_model(built: Build) -> None:
    subject = built(*LLAMA, texts())
    subject = replace(subject, facts={"dataset": subject.facts["dataset"]})
    assert pairs.rows_train.run(subject) is None


def test_the_first_config_that_fits_is_taken(built: Build) -> None:
    subject = built(*LLAMA, texts())
    folder = subject.folder / "dataset"
    shutil.rmtree(folder)
    configs = {}
    for name, rows in (("pictures", pictured()), ("words", texts())):
        other = write(folder / "made", *rows)
        shutil.move(folder / "made" / "data", folder / "data" / name)
        configs[name] = {"train": other["rows"]}
    subject = replace(
        subject,
        facts={**subject.facts, "dataset": {**subject.facts["dataset"], "configs": configs}},
    )
    assert check(subject).measured.startswith("6 rows of text: ")


def test_the_model_is_as_before_afterwards(built: Build) -> None:
    import torch

    subject = built("gpt2", "GPT2ForSequenceClassification", GPT2, labelled())
    before = {name: p.clone() for name, p in subject.exact.state_dict().items()}
    pad = subject.exact.config.pad_token_id
    assert check(subject).ok
    assert subject.exact.config.pad_token_id == pad
    assert all(torch.equal(p, before[name]) for name, p in subject.exact.state_dict().items())
    assert all(p.grad is None for p in subject.exact.parameters())


def test_the_same_is_measured_twice(built: Build) -> None:
    case = ("bert", "BertForMaskedLM", BERT)
    assert check(built(*case, texts())) == check(built(*case, texts()))


def test_few_rows_are_enough_and_those_that_lack_something_are_left_out(built: Build) -> None:
    from datasets import ClassLabel

    features, rows = texts(label=(ClassLabel(names=["a", "b"]), lambda n: n % 2))
    rows = [*rows, {"text": "one more", "label": None}, {"text": "unlabelled", "label": -1}]
    case = ("bert", "BertForSequenceClassification", BERT)
    assert check(built(*case, (features, rows))).measured.startswith("6 rows of text, label: ")
    assert check(built(*case, (features, [*rows] * 5))).measured.startswith("8 rows of text, ")
    assert check(built(*case, (features, rows[:1]))).measured.startswith("1 row of text, label: ")


@pytest.mark.parametrize(("length", "wanted"), [(None, 16), (10, 10)])
def test_texts_are_cut(
    built: Build, monkeypatch: pytest.MonkeyPatch, length: int | None, wanted: int
) -> None:
    """To the model's positions (16), and to what the tokenizer says."""
    subject = built("bert", "BertForMaskedLM", BERT, texts())
    if length is not None:
        edit(
            subject.folder / "tokenizer_config.json",
            lambda data: data.update(model_max_length=length),
        )
    shapes = []
    plain = pairs.learning.outputs

    def seen(model: Any, batch: Mapping[str, Any], seed: int) -> Any:
        shapes.append(tuple(batch["input_ids"].shape))
        return plain(model, batch, seed)

    monkeypatch.setattr(pairs.learning, "outputs", seen)
    assert check(subject).ok
    assert shapes == [(6, wanted)]


def test_the_padding_of_texts_that_are_labels_is_not_learned() -> None:
    from types import SimpleNamespace

    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<pad>": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>")
    work: Any = SimpleNamespace(task="seq2seq", cut={}, tokenizer=lambda: made)
    rows: Any = [SimpleNamespace(text="a b b"), SimpleNamespace(text="b")]
    assert batches._spoken(work, rows).tolist() == [[0, 1, 1], [1, -100, -100]]


def test_messages_are_written_by_the_template(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = built(*LLAMA, chats())
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    (subject.folder / "chat_template.jinja").write_text(template)
    given = []
    plain = pairs.learning.outputs

    def seen(model: Any, batch: Mapping[str, Any], seed: int) -> Any:
        given.append(batch["input_ids"][0])
        return plain(model, batch, seed)

    monkeypatch.setattr(pairs.learning, "outputs", seen)
    found = check(subject)
    assert (found.ok, found.note) == (True, "")
    assert found.measured.startswith("6 rows of messages: ")
    assert subject.tokenizer.decode(given[0], skip_special_tokens=True).startswith("[user]The tr")


# What a layout is called, and the columns that were trained on.
TOLD = {
    "preference (chosen, rejected)": preferred_chats,
    "ShareGPT (conversations)": turns,
    "tool calls (messages, tools)": calling,
    "alpaca (instruction, input, output)": instructed,
    "text (article)": summed,
    "text (texts)": interleaved,
}


@pytest.mark.parametrize("told", TOLD)
def test_the_layout_and_its_columns_are_told(built: Build, told: str) -> None:
    found = check(built(*LLAMA, TOLD[told]()))
    assert found.ok, found
    assert found.measured.startswith(f"6 rows of {told}: loss "), found


def test_a_chat_with_images_goes_through_the_processors_template(built: Build) -> None:
    subject = built(*LLAVA, seen())
    template = (
        "{% for m in messages %}{% for c in m.content %}"
        "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}"
        "{% endfor %}{% endfor %}"
    )
    (subject.folder / "chat_template.jinja").write_text(template)
    found = check(subject)
    assert (found.ok, found.note) == (True, ""), found
    assert found.measured.startswith("6 rows of messages, image (images, messages): loss ")


def test_answers_are_learned_and_prompts_are_not(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a row that is too long, both stay in part."""
    given, plain = list[Mapping[str, Any]](), pairs.learning.outputs

    def seen(model: Any, batch: Mapping[str, Any], seed: int) -> Any:
        given.append(batch)
        return plain(model, batch, seed)

    monkeypatch.setattr(pairs.learning, "outputs", seen)
    subject = built(*LLAMA, preferred())
    assert check(subject).ok
    texts = []
    for batch in given:
        ids, learned = batch["input_ids"][0], batch["labels"][0] >= 0
        decode = partial(subject.tokenizer.decode, skip_special_tokens=True)
        texts.append([decode(ids[part]).strip() for part in (~learned, learned)])
        assert len(ids) <= batches.TOKENS
    (prompt, good), (same, bad) = texts
    assert (prompt, same) == (TEXTS[0][:20], TEXTS[0][:20])
    assert TEXTS[-1].startswith(good)
    assert TEXTS[-2].startswith(bad)


def test_a_preference_that_is_none_changes_nothing(built: Build) -> None:
    """The two answers are the same: what one teaches the other takes back."""
    features, rows = preferred()
    rows = [{**row, "rejected": row["chosen"]} for row in rows]
    found = check(built(*LLAMA, (features, rows)))
    assert not found.ok
    assert "loss 0.6931, 0 of 21 parameters changed" in found.measured


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16", "CMYK"])
def test_images_of_every_mode(built: Build, mode: str) -> None:
    from PIL import Image

    features, rows = pictured()
    data = io.BytesIO()
    Image.new(mode, (20, 30)).save(data, "tiff")
    image = {"bytes": data.getvalue(), "path": "a.tiff"}
    assert check(built(*VIT, (features, [{**row, "image": image} for row in rows]), None)).ok


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_sounds_of_every_rate_and_of_two_channels(built: Build, rate: int) -> None:
    import numpy
    import soundfile

    data = io.BytesIO()
    wave = numpy.random.default_rng(0).normal(0, 0.1, (rate, 2))
    soundfile.write(data, wave, rate, format="FLAC")
    features, rows = sounds()
    audio = {"bytes": data.getvalue(), "path": "a.flac"}
    assert check(built(*WHISPER, (features, [{**row, "audio": audio} for row in rows]))).ok


# --- mutants: the check has to see them -----------------------------------------------------------


def broken(subject: Subject) -> str:
    found = check(subject)
    assert not found.ok, found
    return f"{found.measured} / {found.wanted} / {found.note}"


def test_ids_past_the_embedding(built: Build) -> None:
    from safetensors.torch import load_file, save_file

    subject = built(*LLAMA, texts())
    path = subject.folder / "model.safetensors"
    tensors = load_file(path)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = tensors[name][:300].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    edit(subject.folder / "config.json", lambda data: data.update(vocab_size=300))
    text = broken(subject)
    assert text.startswith("the tokenizer gives id 4")
    assert "the embedding has 300 rows / ids 0 to 299" in text


def test_more_classes_than_the_model_has(built: Build) -> None:
    text = broken(built("bert", "BertForSequenceClassification", BERT, labelled(5)))
    assert text == (
        "labels of 5 classes, the model has 2 / at least 5 classes / "
        "model: {config: {num_labels: 5}}"
    )


def test_a_number_past_the_models_classes(built: Build) -> None:
    from datasets import Value

    rows = texts(label=(Value("int64"), lambda n: 7 if n == 3 else 0))
    assert broken(built("bert", "BertForSequenceClassification", BERT, rows)).startswith(
        "labels of 8 classes, the model has 2"
    )
    rows = texts(label=(Value("int64"), lambda n: -n))
    assert "labels below 0" in broken(built("bert", "BertForSequenceClassification", BERT, rows))


def test_what_is_missing_within_rows(built: Build) -> None:
    features, rows = chats()
    gaps = [None, {"role": None, "content": None}]
    found = check(built(*LLAMA, (features, [{"messages": [*gaps, *rows[0]["messages"]]}])))
    assert found.ok
    features, rows = tagged()
    some = {"tokens": ["Rain", None, "fell", ""], "tags": [1, 0, None, -1]}
    found = check(built("bert", "BertForTokenClassification", BERT, (features, [some, *rows])))
    assert found.ok
    assert found.measured.startswith("7 rows of words, tags (tokens, tags): ")


def test_moments_are_no_labels(built: Build) -> None:
    from datasets import Value

    rows = texts(label=(Value("timestamp[s]"), lambda n: n))
    found = check(built("bert", "BertForSequenceClassification", {**BERT, "num_labels": 3}, rows))
    note = f"{batches.SQUARE}: the rows have no labels; not trained on: label"
    assert (found.ok, found.note) == (True, note)


def test_more_tags_than_the_model_has(built: Build) -> None:
    from datasets import ClassLabel, List

    features, rows = tagged()
    features["tags"] = List(ClassLabel(names=["O", "B", "I"]))
    assert broken(built("bert", "BertForTokenClassification", BERT, (features, rows))).startswith(
        "labels of 3 classes, the model has 2"
    )


def test_a_masked_model_whose_tokenizer_has_no_mask(built: Build) -> None:
    subject = built("bert", "BertForMaskedLM", BERT, texts())
    edit(subject.folder / "tokenizer_config.json", lambda data: data.update(mask_token=None))
    assert "does not have a mask token" in broken(subject)


def test_an_image_of_a_size_that_the_model_does_not_take(built: Build) -> None:
    subject = built(*VIT, pictured(), None)
    name = next(
        n
        for n in ("preprocessor_config.json", "processor_config.json")
        if (subject.folder / n).is_file()
    )

    def larger(data: dict[str, Any]) -> None:
        data.get("image_processor", data)["size"] = {"height": 40, "width": 40}

    edit(subject.folder / name, larger)
    assert "40*40" in broken(subject)


def test_an_image_that_is_none(built: Build) -> None:
    features, rows = pictured()
    rows = [{**row, "image": {"bytes": b"not an image", "path": "a.png"}} for row in rows]
    assert "UnidentifiedImageError" in broken(built(*VIT, (features, rows), None))
    rows = [{**row, "image": {"bytes": None, "path": "/far/a.png"}} for row in rows]
    assert "a.png is not embedded in the rows" in broken(built(*VIT, (features, rows), None))


def test_placeholders_that_are_not_as_many_as_features(built: Build) -> None:
    subject = built(*LLAVA, images())
    edit(
        subject.folder / "processor_config.json",
        lambda data: data.update(num_additional_image_tokens=2),
    )
    assert "tokens: 17, features: " in broken(subject)


def test_mel_bins_that_are_not_the_models(built: Build) -> None:
    subject = built(*WHISPER, sounds())
    edit(
        subject.folder / "processor_config.json",
        lambda data: data["feature_extractor"].update(feature_size=40),
    )
    assert "40" in broken(subject)


def test_a_loss_that_is_no_number(built: Build) -> None:
    import torch

    subject = built(*LLAMA, texts())
    with torch.no_grad():
        subject.exact.lm_head.weight.fill_(float("nan"))
    assert "loss nan" in broken(subject)


def test_a_step_that_changes_nothing(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    assert ", 0 of 21 parameters changed" in broken(built(*LLAMA, texts()))


def test_a_step_after_which_weights_are_no_numbers(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def away(self: torch.optim.Adam) -> None:
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("inf"))

    monkeypatch.setattr(torch.optim.Adam, "step", away)
    assert "1 of 21 parameters changed, not finite: model.embed_tokens.weight" in broken(
        built(*LLAMA, texts())
    )


def test_a_class_that_makes_no_loss_of_its_labels(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pairs.learning.outputs

    def without(*given: Any) -> Any:
        return {name: value for name, value in plain(*given).items() if name != "loss"}

    monkeypatch.setattr(pairs.learning, "outputs", without)
    assert "which is not the class's own" in broken(built(*LLAMA, texts()))
