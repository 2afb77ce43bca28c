"""What the page is told: what there is to choose from, and what has changed."""

from __future__ import annotations

import dataclasses

from vidmem.catalogue.tracker import MODELS
from vidmem.memory import BANKS
from vidmem.search import SEARCHES

from . import plain
from .project import Project
from .requests import most_of
from .visits import Visit

CHANGES, CHANGED_BYTES = 200, 1 << 20  # frames of results in one answer, and letters of their masks


def policies(model: str) -> dict:
    """Banks and searches with their numbers, from the dataclasses: what the page makes its controls of."""

    def fields(policy) -> list[dict]:
        return [{"name": f.name, "label": plain.NUMBERS.get(f.name, f.name), "value": getattr(policy, f.name), "choices": f.metadata.get("choices"), "least": f.metadata.get("least"),
                 "most": f.metadata["most"] if f.metadata.get("most") is not None else most_of(f.name, f.default)} for f in dataclasses.fields(policy)]  # fmt: skip

    banks = {name: MODELS[model].make_bank(name) for name in BANKS}
    searches = {name: make() for name, make in SEARCHES.items()}
    return {
        kind: {name: {"about": words.get(name, ""), "fields": fields(p)} for name, p in table.items()}
        for kind, table, words in (("bank", banks, plain.BANKS), ("search", searches, plain.SEARCHES))
    }


def name_of(table: dict, policy) -> str:
    return next(name for name, kind in table.items() if kind is type(policy))


def told(visit: Visit, project: Project | None, since: int) -> dict:
    """What has changed for the page. Masks that were painted are left out: the page draws what came of them."""
    answer: dict = {
        "work": visit.work,
        "busy": visit.busy,
        "video": visit.video,
        "kept": visit.kept | {"due": visit.unkept},
    }
    if project is None:
        return answer
    results, letters, reached = {}, 0, since
    changed = sorted((r, i) for i, r in list(project.revisions.items()) if r > since)
    for revision, i in changed:
        if len(results) == CHANGES or letters > CHANGED_BYTES:
            break
        results[i] = {o: vars(s) for o, s in project.results.get(i, {}).items()}
        letters += sum(len(s["rle"]["counts"]) for s in results[i].values())
        reached = revision
    edits = [
        {"frame_idx": e.frame_idx, "obj_id": e.obj_id, "prompt": e.prompt | {"mask": e.prompt.get("mask") is not None}}
        for e in project.edits
    ]
    things = {o: dataclasses.asdict(t) for o, t in dict(project.things).items()}
    fresh = {o: list(span) for o, span in dict(project.fresh).items()}
    return answer | {"fresh": fresh, "stale_from": project.stale_from(), "cuts": sorted(project.cuts), "results": results, "revision": reached, "more": len(results) < len(changed), "things": things, "prompts": edits,
                   "fresh_until": project.fresh_until, "can_undo": bool(project.done), "can_redo": bool(project.undone)}  # fmt: skip
