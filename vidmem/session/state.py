"""A session's snapshot as bytes: safetensors, whose header says what wrote it. Another process goes on from them with the same masks.

Nothing in the bytes is executed, and the classes are the reading session's own: bytes of another model, bank or search are refused, as
are bytes that were damaged, and what no session can be in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from vidmem.bounds import MOST_PIXELS
from vidmem.errors import StateError
from vidmem.learn import Learner
from vidmem.memory import Bank, Held, MemoryBank
from vidmem.memory.credible import CredibleRule, CredibleStart
from vidmem.networks.base import BACK, Ask, Memory, Network, Storage
from vidmem.prompts import check_id, check_inside, check_text, make_prompt
from vidmem.search import Search
from vidmem.session.now import Now
from vidmem.session.status import StatusRule, StatusState
from vidmem.session.told import Told
from vidmem.session.tracks import Hypothesis, Meta, Outcome, Snapshot, Track
from vidmem.session.walk import Kind, Reader, Writer
from vidmem.types import Chosen, Cue, Entry, Event, Prompt, ReadPlan, Verdict

FORMAT = "vidmem session 1"


class Example(NamedTuple):
    """What the network makes of a frame: what is read back must be alike."""

    features: Any
    mask_size: tuple[int, int]
    memory: Memory

    @classmethod
    def of(cls, network: Network, size: tuple[int, int]) -> Example:
        """size: (H, W) of the frames."""
        features = network.encode(np.zeros((*size, 3), np.uint8))
        ask = Ask(make_prompt(points=[size[1] / 2, size[0] / 2]), size)
        candidates = network.decode(features, network.attend(features, [ReadPlan()]), [ask])
        return cls(
            features, candidates.mask_logits.shape[2:], *network.memorize(features, candidates, [Chosen(0, 0, True)])
        )


class StateFormat:
    """Writes and reads the snapshots of sessions with one network, bank, search, learner and rule of the status.

    settings: what else must be the same in the session that reads, as JSON has it.
    """

    _network: Network
    _storage: Storage
    _bank: Bank
    _search: Search
    _learner: Learner | None
    _kinds: dict[str, Kind]
    _header: dict[str, Any]
    _example: Any  # of what is being read; None before a session's first frame

    def __init__(
        self, network: Network, bank: MemoryBank, search: Search, learner: Learner | None, rule: StatusRule,
        settings: Mapping[str, object],
    ):  # fmt: skip
        if not isinstance(bank, Bank):
            raise StateError(
                f"a {type(bank).__name__} cannot be written; expected a Bank of vidmem.memory, over any policy"
            )
        for kept in (search, learner):
            if kept is not None and not is_dataclass(kept):
                raise StateError(
                    f"a {type(kept).__name__} cannot be written; expected a dataclass, as vidmem's searches and learners are"
                )
        self._network, self._storage, self._bank, self._search, self._learner = (
            network, network.storage, bank, search, learner
        )  # fmt: skip
        policy = bank.policy
        about: dict[type, Mapping[str, Any]] = {
            Snapshot: {}, Track: {}, Hypothesis: {}, Meta: {}, Event: {}, Outcome: {}, Prompt: {}, Verdict: {}, Entry: {}, Held: {},
            Told: {"words": None}, CredibleStart: {"rule": CredibleRule()},
            Now: {"describe": network.describe, "see": network.cells}, StatusState: {"rule": rule}, type(bank): {"policy": policy},
            type(search): {"policy": search.policy} if hasattr(search, "policy") else {}, **self._storage.kinds,
        }  # fmt: skip
        if learner is not None:
            about |= {type(learner): {"rule": learner.rule}, **{part: {} for part in learner.parts}}
        if hasattr(policy.notes, "_fields"):
            about[policy.notes] = {}
        hints: dict[type, dict[str, Any]] = {Held: {"notes": policy.notes and policy.notes | None}}
        made: dict[type, Callable[[Any], Any]] = {
            Prompt: _prompt, Entry: self._entry, type(bank): self._held, Told: self._told,
        }  # fmt: skip
        self._kinds = {
            cls.__name__: Kind(cls, given, hints.get(cls, {}), made.get(cls, lambda value: value))
            for cls, given in about.items()
        }
        layout = repr([(name, kind.names) for name, kind in self._kinds.items()])
        self._header = {
            "format": FORMAT, "model": network.name, "runtime": network.runtime, "weights": network.identity(), "bank": repr(policy),
            "status": repr(rule), **settings, "layout": hashlib.sha256(layout.encode()).hexdigest()[:16],
        }  # fmt: skip

    def write(self, snapshot: Snapshot) -> bytes:
        """Raises `StateError` for a bank that keeps notes of which it does not say the type, and for what cannot be written."""
        import safetensors.numpy

        writer = Writer(self._kinds, self._storage.save)
        banks = [bank for track in snapshot.tracks.values() for bank in track.banks if isinstance(bank, Bank)]
        if any(bank.held.notes is not None and bank.policy.notes is None for bank in banks):
            raise StateError(f"the bank {self._bank.policy} keeps notes; give its policy the field `notes`, their type")
        try:
            root = writer.node(snapshot)
        except ValueError as error:
            raise StateError(f"this session cannot be written: {error}") from None
        arrays = [np.ascontiguousarray(array) for array in writer.arrays]
        body = json.dumps(
            {"objects": writer.objects, "root": root, "size": snapshot.now and snapshot.now.size}, separators=(",", ":")
        )
        arrays.append(np.frombuffer(body.encode(), np.uint8))
        named = {str(i): array for i, array in enumerate(arrays)}
        return safetensors.numpy.save(named, {"vidmem": json.dumps(self._header | {"sha256": _digest(arrays)})})

    def read(self, data: bytes) -> Snapshot:
        """Raises `StateError` for bytes of something else, of other settings, damaged ones, and a state that cannot be."""
        header, arrays = _open(data)
        for key, mine in self._header.items():
            if header.get(key) != mine:
                raise StateError(_differs(key, header.get(key), mine))
        if header.get("sha256") != _digest(arrays):
            raise StateError(
                "these bytes of a session are damaged: their hash is another one; expected them as to_bytes() gave them"
            )
        try:
            said = json.loads(arrays.pop().tobytes())
            size = said["size"] and tuple(_side(side) for side in said["size"])
            if size and size[0] * size[1] > MOST_PIXELS:
                raise ValueError(f"frames of {size[1]}x{size[0]}")
            self._example = Example.of(self._network, size) if size else None
            stand_in: dict[Any, Any] = {MemoryBank: type(self._bank) | CredibleStart, Search: type(self._search)}
            if self._learner is not None:
                stand_in[Learner] = type(self._learner)
            reader = Reader(self._kinds, self._storage.load, said["objects"], arrays, stand_in)
            snapshot = reader.value(said["root"], Snapshot)
            self._check(snapshot, size)
        except Exception as error:  # what is wrong on purpose trips over any of many things
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise StateError(
                f"these bytes hold no state that a session can be in: {why}; expected what to_bytes() gave"
            ) from None
        return snapshot

    # What is read, checked --------------------------------------------------------------------------------------------
    def _entry(self, entry: Entry) -> Entry:
        example = self._example.memory
        if entry.payload is not None:
            if type(entry.payload) is not type(example.payload):
                raise ValueError("a memory of another kind")
            self._storage.adopt(entry.payload, example.payload)
        if not _alike(entry.pointer, example.pointer) and entry.pointer is not None:
            raise ValueError("a pointer of another shape")
        if not 0 <= entry.nbytes <= 1 << 40:
            raise ValueError(f"a memory of {entry.nbytes} bytes")
        return entry

    def _held(self, bank: Bank) -> Bank:
        entries = bank.entries()
        if len(entries) > bank.capacity:
            raise ValueError(f"{len(entries)} memories of one object, and the bank holds {bank.capacity}")
        for part in bank.held[:5]:
            if any(a.frame_idx >= b.frame_idx for a, b in pairwise(part)):
                raise ValueError("memories out of order")
        if len({e.descriptor.shape for e in entries if e.descriptor is not None}) > 1:
            raise ValueError("descriptors of several shapes")
        return bank

    def _told(self, told: Told) -> Told:
        """Its words are made again: they belong to the network, and cost one look at the text."""
        if not self._network.reads_words:
            raise ValueError("an object that is known by a text, which this network does not read")
        return replace(told, words=self._network.understand(check_text(told.text)))

    def _check(self, snapshot: Snapshot, size: tuple[int, int] | None) -> None:
        now = snapshot.now
        if (now and now.size) != size or (now is None and (snapshot.tracks or snapshot.unsettled)):
            raise ValueError("objects without a frame")
        for frame_idx, queue in snapshot.queued.items():
            if frame_idx < -1:
                raise ValueError(f"a prompt for frame {frame_idx}")
            for obj_id in queue:
                check_id(obj_id)
        if now is None:
            return
        if now.features is not None and not _alike(now.features, self._example.features):
            raise ValueError("features of another shape")
        if len(now.past) > BACK or not all(_alike(past, self._example.features) for past in now.past):
            raise ValueError("earlier features of another shape")
        if now.histogram is not None and (now.histogram.ndim, now.histogram.dtype) != (2, np.float32):
            raise ValueError("a histogram of another shape")
        if any(meta.size != size for meta in snapshot.unsettled):
            raise ValueError("frames of several sizes")
        for obj_id, track in snapshot.tracks.items():
            check_id(obj_id)
            if track.before is None or track.before.before is not None:
                raise ValueError("a frame before this one, or none")
            for one in (track, track.before):
                self._check_track(one, now)

    def _check_track(self, track: Track, now: Now) -> None:
        if not track.hypotheses:
            raise ValueError("an object without a hypothesis")
        track.search.check(len(track.hypotheses))
        if (track.learner is None) != (self._learner is None):
            raise ValueError("an object with a learner in a session without, or without one in a session with")
        if track.learner is not None:
            track.learner.check(self._network.cells(self._example.features).shape[2])
        for hypothesis in track.hypotheses:
            if isinstance(hypothesis.bank, CredibleStart) != (track.told is not None):
                raise ValueError("an object that is half known by a text")
            state, entries = hypothesis.state, hypothesis.bank.entries()
            if min(state.unseen, state.seen, state.contested) < 0:
                raise ValueError("a count below zero")
            if entries and entries[-1].frame_idx > now.clock:
                raise ValueError("a memory of a frame that has not come")
            for outcome in (hypothesis.outcome, *(past for _, past in hypothesis.past)):
                if outcome is not None:
                    self._check_outcome(outcome, now.size)
            self._try(hypothesis.bank, now)

    def _check_outcome(self, outcome: Outcome, size: tuple[int, int]) -> None:
        if outcome.mask_logits.shape != self._example.mask_size or outcome.mask_logits.dtype != np.float32:
            raise ValueError(f"a mask of shape {outcome.mask_logits.shape}")
        if outcome.mask is not None and (outcome.mask.shape != size or outcome.mask.dtype != bool):
            raise ValueError(f"a mask of shape {outcome.mask.shape}")
        if outcome.prompt is not None:
            check_inside(outcome.prompt, size)

    def _try(self, bank: MemoryBank, now: Now) -> None:
        """What the next frame would read: notes of a bank are its own matter, and show here whether they fit the rest."""
        cue = None
        if "cue" in bank.needs:
            cue = Cue(self._network.describe(self._example.features))
        plan = bank.fork().read(now.clock + 1, cue)
        if any(recall.entry.payload is None for recall in plan.recalls):
            raise ValueError("a memory that would be read, and is a pointer alone")
        for pointer in plan.pointers:
            self._entry(pointer.entry)


def _prompt(prompt: Prompt) -> Prompt:
    """The same, whose mask is still the one that the answer shares with it."""
    good = make_prompt(prompt.points, prompt.labels, prompt.box, prompt.mask)
    for mine, other in (
        (prompt.points, good.points),
        (prompt.labels, good.labels),
        (prompt.box, good.box),
        (prompt.mask, good.mask),
    ):
        if mine is not None and other is not None and (mine.dtype, mine.shape) != (other.dtype, other.shape):
            raise ValueError(f"a prompt of {mine.dtype}")
    return prompt


def _side(side) -> int:
    if type(side) is not int or not 1 <= side <= MOST_PIXELS:
        raise ValueError(f"frames with a side of {str(side)[:20]}")
    return side


def _alike(one: Any, other: Any) -> bool:
    """Whether arrays, or tuples of them, have the same shapes and types."""
    if isinstance(other, tuple):
        return type(one) is type(other) and all(map(_alike, one, other))
    known = hasattr(one, "shape") and hasattr(other, "shape")
    return known and tuple(one.shape) == tuple(other.shape) and one.dtype == other.dtype


def _digest(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _open(data: bytes) -> tuple[dict, list[np.ndarray]]:
    import safetensors.numpy

    what = "expected what Session.to_bytes() gave"
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise StateError(f"a session's state is {type(data).__name__}; {what}")
    data = bytes(data)
    try:
        named = safetensors.numpy.load(data)
        said = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        header, arrays = json.loads(said["vidmem"]), [named[str(i)] for i in range(len(named))]
        if not isinstance(header, dict) or not arrays:
            raise ValueError
    except Exception:  # safetensors raises an error of its own, and json, KeyError and RecursionError come too
        raise StateError(f"these {len(data)} bytes are no session's state; {what}") from None
    return header, arrays


def _differs(key: str, came, mine) -> str:
    came = str(came)[:200]
    if key in ("format", "layout"):
        return f"the state was written by another version of vidmem ({key} {came}, here {mine}); read it with that one"
    if key == "weights":
        return "the state was written with other weights, or in another precision; load the same ones"
    return f"the state was written with {key} {came}, and this session has {mine}; make the session as the other one was made"
