"""What happens on one frame, in the order of the data: read, attend, decode, choose, compete, memorize."""

from __future__ import annotations

import numpy as np

from vidmem.memory import MemoryBank
from vidmem.networks.base import Ask, Network, Sought
from vidmem.networks.trust import Trust
from vidmem.render import mask_boxes
from vidmem.search import Choice, View
from vidmem.session.cleaning import clean
from vidmem.session.competition import compete, rivals
from vidmem.session.distractors import agreement
from vidmem.session.learning import judge, learn
from vidmem.session.now import Now
from vidmem.session.reading import Reading
from vidmem.session.tracks import Hypothesis, Outcome, Track
from vidmem.types import Candidates, Chosen, Entry, Prompt, Status, Verdict


def frame_step(
    network: Network,
    now: Now,
    tracks: dict[int, Track],
    prompts: dict[int, Prompt | None],
    lag: int | None,
    cleans: bool,
) -> dict[int, Track]:
    """Follow these objects on this frame, from their state before it -> what becomes of their tracks.

    prompts: of each object to follow, what a person says about it here. lag: the search's. cleans: stray parts of masks are dropped.
    """
    begun = {obj_id: tracks[obj_id].again(prompt, now.size) for obj_id, prompt in prompts.items()}
    rows = [(bank, ask) for track, ask in begun.values() for bank in track.banks]
    sought = [told_of(track, ask, now) for track, ask in begun.values() for _ in track.banks]

    plans = [bank.read(now.clock, now.cue_for(bank)) for bank, _ in rows]
    conditioned = network.attend(now.features, plans)
    if any(plan.watch for plan in plans):
        for (bank, _), plan, used in zip(rows, plans, network.usage(now.features, conditioned, plans)):
            if plan.watch:
                bank.observe(plan, used)
    if any(sought):
        conditioned = network.refer(now.features, sought, conditioned)
    candidates = network.decode(now.features, conditioned, [ask for _, ask in rows])

    readings, first = [], 0
    for obj_id, (track, ask) in begun.items():
        own = slice(first, first + len(track.hypotheses))
        seen = judge(track, candidates, own, ask, now)
        reading = Reading(track, own, ask, seen, choose(track, candidates, own, ask, now.cut), obj_id)
        if cleans:
            tidy(candidates, reading, now)
        readings.append(reading)
        first = own.stop
    readings = share_out(candidates, readings, network.competes)

    for reading in readings:
        learn(reading, candidates, now)
    kept = [one for reading in readings for one in adopt(reading, candidates, now, lag, network.trust)]
    wanted = [(bank, chosen, verdict) for bank, chosen, verdict in kept if bank.wants(verdict)]
    if wanted:
        memories = network.memorize(now.features, candidates, [chosen for _, chosen, _ in wanted])
        for (bank, _, verdict), memory in zip(wanted, memories):
            cue = now.cue_for(bank)
            bank.write(Entry(verdict, memory.payload, memory.nbytes, memory.pointer, cue and cue.frame))
    return {obj_id: track for obj_id, (track, _) in begun.items()}


def told_of(track: Track, ask: Ask | None, now: Now) -> Sought | None:
    """What the object is called, with the frames on which that was looked for before this one."""
    told = track.told
    if told is None:
        return None
    return Sought(told.words, now.past[: max(0, now.clock - told.since)], ask is not None)


def choose(track: Track, candidates: Candidates, own: slice, ask: Ask | None, cut: bool) -> list[Choice]:
    """Let the object's search choose among its rows."""
    logits = candidates.mask_logits[own]
    view = View(
        candidates.iou[own], candidates.object_logit[own], ask is not None, cut,
        lambda: np.stack([mask_boxes(row > 0) for row in logits]),
    )  # fmt: skip
    return track.search.advance(view)


def tidy(candidates: Candidates, reading: Reading, now: Now) -> None:
    """Clean what was chosen, each reading against its own past."""
    height, width = candidates.mask_logits.shape[2:]
    scale = width / now.size[1], height / now.size[0]
    for choice in reading.choices:
        row, last = reading.rows.start + choice.parent, reading.track.hypotheses[choice.parent].outcome
        before = last.mask_logits if last is not None and last.object_logit > 0 and not now.cut else None
        chosen = candidates.mask_logits[row, choice.candidate]
        candidates.mask_logits[row, choice.candidate] = clean(chosen, before, reading.ask and reading.ask.prompt, scale)


def share_out(candidates: Candidates, readings: list[Reading], competes: bool) -> list[Reading]:
    """Name the rivals among the best readings of visible objects; where they compete, cells that several claim stay with
    one of them."""
    visible = [
        i
        for i, reading in enumerate(readings)
        if candidates.object_logit[reading.best[0]] > reading.doubt(reading.choices[0])
    ]
    claims = [candidates.mask_logits[readings[i].best] for i in visible]
    firm = [readings[i].ask is not None for i in visible]
    out = list(readings)
    for i, rival in zip(visible, rivals(claims, firm)):
        if rival is not None:
            other = readings[visible[rival.number]].obj_id
            out[i] = readings[i]._replace(rival=other, yields=rival.stronger and competes)
    if competes:
        for i, logits in zip(visible, compete(claims, firm)):
            candidates.mask_logits[readings[i].best] = logits
    return out


def adopt(
    reading: Reading, candidates: Candidates, now: Now, lag: int | None, trust: Trust | None
) -> list[tuple[MemoryBank, Chosen, Verdict]]:
    """What was chosen becomes the object's hypotheses -> of each its bank, what it took, and the verdict."""
    track, own, ask, seen, choices, _, rival, yields = reading
    parents, kept = track.hypotheses, []
    first_use = {c.parent: c for c in reversed(choices)}
    doubts = [reading.doubt(c) for c in choices]
    track.hypotheses = []
    for c, doubt in zip(choices, doubts):
        parent, chosen = parents[c.parent], Chosen(own.start + c.parent, c.candidate, ask is not None)
        logit = float(candidates.object_logit[chosen.row])
        state = parent.state.advance(logit > 0, ask is not None, rival)
        outcome = Outcome.of(candidates, chosen, ask, state, doubt, seen[c.parent], trust, keep=lag != 0)
        bank = parent.bank if first_use[c.parent] is c else parent.bank.fork()
        past = () if lag == 0 else (*parent.past, (now.frame_idx, outcome))
        track.hypotheses.append(Hypothesis(bank, state, outcome, past))
        area = float((outcome.mask_logits > 0).mean()) if logit > 0 else 0.0
        apart = agreement(candidates.mask_logits[chosen.row], c.candidate) if "distractor" in bank.needs else None
        verdict = Verdict(
            now.clock, float(candidates.iou[chosen.row, chosen.candidate]), logit, area, ask is not None, ask is not None and not ask.fresh,
            state.status is Status.TRACKED, now.cut, apart, c.motion, now.frame_idx,
        )  # fmt: skip
        if not yields or c is not choices[0]:  # other hypotheses did not take part in the competition
            kept.append((bank, chosen, verdict))
    return kept
