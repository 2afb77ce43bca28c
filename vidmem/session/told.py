"""Objects that are known by words, on networks that look for words themselves: what a session holds of them, and when one is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidmem.errors import ObjectError, PromptError
from vidmem.networks.base import Network
from vidmem.prompts import check_text
from vidmem.types import Event

if TYPE_CHECKING:
    from vidmem.session.tracks import Snapshot, Track


@dataclass(frozen=True, eq=False)
class Told:
    """What an object is called."""

    text: str
    words: Any
    """What `Network.understand` made of it."""
    since: int = 0
    """The banks' clock on the first frame on which it is looked for."""


def understood(network: Network, text, placed: bool, obj_id: int, state: Snapshot) -> Told:
    """A text that `Session.add` was given; placed: with a click, a box or a mask beside it. Raises `PromptError`, `ObjectError`."""
    if placed:
        raise PromptError("a text came with points, a box or a mask; give one of them")
    text = check_text(text)
    if not network.reads_words:
        raise PromptError(
            f"{network.name} takes no text itself; look for {text!r} with vidmem.detect.Watcher, or give a click, box or mask"
        )
    if obj_id in state.tracks:
        raise ObjectError(f"object {obj_id} is followed already; remove it first, or give {text!r} another id")
    return Told(text, network.understand(text))


def sought(state: Snapshot) -> dict[int, str]:
    """Objects whose text is looked for still -> that text."""
    waiting = {o: told.text for queue in state.queued.values() for o, told in queue.items() if isinstance(told, Told)}
    begun = {o: track.told.text for o, track in state.tracks.items() if track.told and track.sought}
    return dict(sorted((waiting | begun).items()))


def found(tracks: dict[int, Track]) -> tuple[Event, ...]:
    """The events of a frame on which objects' words were credible, so that they are followed from now on."""
    events = []
    for obj_id, track in sorted(tracks.items()):
        outcome, before = track.best.outcome, track.before
        if track.told and not track.sought and before and before.sought and outcome and outcome.prompt is None:
            why = f"{track.told.text!r}: credible on frames in a row, and followed from frame {track.began}"
            events.append(Event("found", obj_id, obj_id, outcome.iou, None, why))
    return tuple(events)
