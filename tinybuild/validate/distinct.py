"""Checks that what makes an architecture itself outlived the shrinking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinybuild.config.distinct import Known, compared
from tinybuild.errors import BuildFault
from tinybuild.paths import Data, mapping, merge, put
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import NotTried, Subject

UNSAID = "no rule keeps them apart"


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
    reasons = {str(one["key"]): str(one["reason"]) for one in changes}
    try:
        found = compared(type(model), source, model.config, given(subject.overrides, changes), now)
    except BuildFault as fault:
        why = f"the class makes no model of its source's config: {fault.findings[0].what}"
        raise NotTried(why) from None
    known = Known.of(reasons, found.source, model.config.to_dict())
    modules = [f"{name} is lost" for name in found.lost]
    modules += [f"{name} is not in the source" for name in found.gained]
    given_up = {str(one): known.why(one) or UNSAID for one in found.coincidences}
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
