"""The front matter of a card: what the Hub reads, by its rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tinybuild.pack.told import Told

LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")
OTHER = re.compile(r"other \((.+)\)")  # a licence with a name of its own
LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")


def front(told: Told) -> str:
    import yaml

    data = {key: value for key, value in _entries(told) if value}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---"


def _entries(told: Told) -> Iterator[tuple[str, object]]:
    model = told.model
    sentences = model is not None and any(form.kind == "modules" for form in model.forms)
    if model or told.tokenizer:
        yield "library_name", "sentence-transformers" if sentences else "transformers"
    if model:
        yield "pipeline_tag", "sentence-similarity" if sentences else model.tag
    yield from _license(told)
    yield "language", _languages(told)
    repos = {slot: credit["repo"] for slot, credit in told.credits.items() if "repo" in credit}
    yield "base_model", sorted({repos[slot] for slot in ("source", "tokenizer") if slot in repos})
    yield "datasets", [repos["dataset"]] if "dataset" in repos else []
    yield "tags", ["tinybuild", "tiny", *(["random-weights"] if model else [])]


def _license(told: Told) -> Iterator[tuple[str, object]]:
    """The recipe's, or what all sources say; nothing where one of them says nothing."""
    about = told.dataset.source.about if told.dataset else {}
    said = [credit.get("license", "") for slot, credit in told.credits.items() if slot != "dataset"]
    if "dataset" in told.credits:
        given = about.get("license", told.credits["dataset"].get("license", ""))
        said += [str(one) for one in given] if isinstance(given, list) else [str(given)]
    if told.places.license:
        said = [told.places.license]
    names = {one for text in said for one in (text.split(", ") if text else [""])}
    named = next((found for name in sorted(names) if (found := OTHER.fullmatch(name))), None)
    plain = sorted("other" if OTHER.fullmatch(name) else name for name in names)
    if not plain or not all(LICENSE.fullmatch(name) for name in plain):
        return
    yield "license", plain[0] if len(plain) == 1 else plain
    if plain == ["other"] and (named or "license_name" in about):
        name = named[1] if named else str(about["license_name"])
        yield "license_name", re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _languages(told: Told) -> list[str]:
    """Those of the text that it was learned from and of the sources' cards."""
    about = told.dataset.source.about.get("language", []) if told.dataset else []
    said: list[str] = [*told.languages]
    said += about if isinstance(about, list) else [str(about)]
    for credit in told.credits.values():
        said += _split(credit.get("language", ""))
    return sorted({name for name in said if LANGUAGE.fullmatch(name)})


def _split(text: str) -> Iterable[str]:
    return text.split(", ") if text else ()
