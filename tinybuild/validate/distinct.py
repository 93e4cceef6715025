"""Checks that what makes an architecture itself outlived the shrinking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tinybuild.config.distinct import NEEDED, Coincidence, Size, compared, sizes
from tinybuild.errors import BuildFault
from tinybuild.keys import configs, measures
from tinybuild.paths import Data, Path, mapping, merge, put
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import NotTried, Subject

WISHED = ("recipe", "tokenizer")  # how the reason of a size begins that somebody wants so
UNSAID = "no rule keeps them apart"

OF = ("width", "heads")  # what a class derives the width of a head from


@check("model")
def distinctions_kept(subject: Subject) -> Result | None:
    """What the source has and tells apart, the model has and tells apart: no module is lost, and
    no two sizes became one.

    The source stands beside the model on the meta device, with only the kept layers: each layer
    has the same parameters, and what differs there differs here: axes of a tensor, one axis in two
    layers, sizes of a config. What the recipe or the tokenizer sets is a wish and not a loss; of
    what a rule had to give up config_changes.json says why. Of others there are at most as many as
    the recipe allows (checks.max_coincidences). All are listed.
    """
    source = subject.source_config
    if source is None or subject.wish.shrink != "auto":
        return None
    model = subject.model
    now = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    changes = _changes(subject)
    try:
        found = compared(type(model), source, model.config, given(subject.overrides, changes), now)
    except BuildFault as fault:
        why = f"the class makes no model of its source's config: {fault.findings[0].what}"
        raise NotTried(why) from None
    known = Known.of(changes, found.source, model.config.to_dict())
    modules = [f"{name} is lost" for name in found.lost]
    modules += [f"{name} is not in the source" for name in found.gained]
    met = (*found.sizes, *found.axes, *found.layers)
    given_up = {str(one): known.why(one) or UNSAID for one in met}
    unsaid = [one for one, why in given_up.items() if why == UNSAID]
    most = subject.bounds.max_coincidences
    ok = not modules and len(unsaid) <= most
    result = Result.of(
        ok,
        measured=listed([*modules, *unsaid]) or "every module and every distinction of the source",
        wanted=f"the modules of the source, and at most {most} pairs equal that differ there",
        values={
            "lost": len(found.lost),
            "gained": len(found.gained),
            "coincident": len(unsaid),
            "given_up": len(given_up) - len(unsaid),
            "apart": len(found.apart),
        },
        note="" if ok else "set these sizes in model.config, or raise checks.max_coincidences",
    )
    return replace(result, given_up=given_up)


def _changes(subject: Subject) -> list[Data]:
    told = subject.file("config_changes.json").get("changes")
    return [mapping(one) for one in told] if isinstance(told, list) else []


def given(wishes: Data, changes: Sequence[Data]) -> Data:
    """What the recipe sets, and exceptions where the source says nothing."""
    made = merge({}, wishes)
    for one in changes:
        if str(one["reason"]).startswith("exception") and one["from"] is None:
            put(made, tuple(str(one["key"]).split(".")), one["to"])
    return made


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of the sizes of a config: why they were changed, and what they were."""

    reasons: Mapping[str, str]
    sizes: Sequence[Size]

    @classmethod
    def of(cls, changes: Sequence[Data], source: Data, tiny: Data) -> Known:
        return cls(
            reasons={str(one["key"]): str(one["reason"]) for one in changes},
            sizes=[size for path, _ in configs(tiny) for size in sizes(source, tiny, path)],
        )

    def why(self, one: Coincidence) -> str:
        """Why two sizes are equal though they differ in the source; "" where nobody says it."""
        said = (self._reason(path) for keys in self._keys(one) for path in keys)
        return next((text for text in said if text.startswith(WISHED) or NEEDED in text), "")

    def _keys(self, one: Coincidence) -> Iterator[tuple[Path, ...]]:
        """The keys that the sizes come from; of an axis those that were, and are, as large."""
        yield from one.keys
        if not any(one.keys):
            for size in self.sizes:
                if size.now == one.now and size.was in one.was:
                    yield size.keys

    def _reason(self, path: Path) -> str:
        """Of a key, or of the list or mapping that it is in; what follows a width or heads that the
        recipe sets is the recipe's: what the class derives, and what a head is wide."""
        ends = range(len(path), 0, -1)
        own = next((r for end in ends if (r := self.reasons.get(".".join(path[:end])))), "")
        if own != "derived" and measures(path[-1]) != "head dim":
            return own
        around = (size for size in self.sizes if [path[:-1]] == [key[:-1] for key in size.keys])
        asked = (size.keys[0] for size in around if measures(size.keys[0][-1]) in OF)
        said = (self.reasons.get(".".join(key), "") for key in asked)
        return next((reason for reason in said if reason.startswith(WISHED)), own)
