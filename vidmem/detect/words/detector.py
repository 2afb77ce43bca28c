"""`words`: finds what a closed vocabulary can say, offline, on a CPU. It is no open vocabulary: unknown words are refused.

A look has two steps. The whole frame gives boxes of whole objects and a first opinion of each; the few boxes that fit best are then
looked at alone, at the size the classifier was trained on. Colour, place, size and motion only lower a box's score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidmem.detect.base import Concept, Find, Prepared, View, check_text, distinct, overlap
from vidmem.detect.words import colour, motion
from vidmem.detect.words.everyday import LIVELY
from vidmem.detect.words.evidence import load_calibration, noun_odds
from vidmem.detect.words.grammar import Phrase, read
from vidmem.detect.words.heat import noun_heat, word_heat
from vidmem.detect.words.network import Names, Sighting, WordNetwork
from vidmem.detect.words.place import ordinal_shares, place_shares, relation_shares, size_shares
from vidmem.detect.words.proposals import pairwise
from vidmem.detect.words.vocabulary import Noun, load_vocabulary
from vidmem.errors import PromptError
from vidmem.installed import models_folder
from vidmem.types import Frame

CLOSER, MANY = 3, 6  # boxes that are looked at alone: of a phrase, and of one that compares or wants several
RIVAL = 0.3  # of the best score: from there on a box is as likely the thing
LEAST = 0.05  # of a find's score
DOUBT = 0.05  # of a first opinion, so that a colour counts even where the word says nothing yet
TELLS = 1.5  # log odds of the word that its colours add, where they are all there
TWIN, APART = 0.65, 0.3  # least likeness of shapes, and most overlap, of two boxes that hold things of one kind
TWIN_COST = 0.5  # log odds that evidence loses on the way to a twin
INSIDE = 0.7  # of a box's area: from there on it may be a part of the other
AT_REST = 0.5  # what is left of the score of a dancer who does not move


@dataclass
class _Look:
    """One frame, with what was found out about it so far."""

    frame: Frame
    view: View
    sighting: Sighting
    regions: Names
    close: dict[
        int, tuple[np.ndarray, np.ndarray, np.ndarray]
    ]  # box -> logits, person logit, features of a look at it alone
    shapes: dict[int, np.ndarray] | None = None
    """box -> unit features of a look at it alone without colours; None: the closer looks were taken in colour only."""
    hsv: np.ndarray | None = None
    speed: np.ndarray | None = None


class WordDetector:
    """Implements `vidmem.detect.Detector`. folder: None: the one that comes with vidmem. threads: of the network. Raises as
    `WordNetwork`."""

    name = "words"

    def __init__(self, folder: Path | None = None, threads: int | None = None):
        folder = models_folder() / "words" if folder is None else Path(folder)
        self.network = WordNetwork(folder, threads)
        self.vocabulary = load_vocabulary(folder / "imagenet.txt")
        self.nouns, self.people = load_calibration(folder / "calibration.json")

    def read(self, text: str) -> Phrase:
        """What is understood of a text, and what is not. Raises `PromptError` for what is no text."""
        return read(check_text(text), self.vocabulary)

    def prepare(self, text: str) -> Prepared:
        """-> `Phrase`. Raises `PromptError` that says what was not understood, and what to say instead."""
        phrase = self.read(text)
        if phrase.unknown:
            word = phrase.unknown[0]
            near = self.vocabulary.near(word)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise PromptError(
                f"I do not know {word!r}; {hint}I know ImageNet's 1,000 names and everyday words (docs/words.md lists them): say it with those, or "
                "give a click or a box"
            )
        if phrase.problem:
            raise PromptError(f"{text!r} is not understood: {phrase.problem}")
        return Prepared(phrase, phrase.limit)

    def detect(self, frame: Frame, wanted: Sequence[tuple[Concept, Prepared]], view: View) -> list[Find]:
        if not wanted:
            return []
        look = self._glance(frame, view)
        self._look_closer(look, [prepared.payload for _, prepared in wanted])
        return [find for concept, prepared in wanted for find in self._finds(look, concept, prepared.payload)]

    def explain(self, frame: Frame, phrase: Phrase, view: View) -> tuple[list[Find], list[np.ndarray | None]]:
        """What `detect` finds for one phrase, and where each of `phrase.words` is seen: maps (h, w) 0..1 over the frame, None for words
        that have no place."""
        look = self._glance(frame, view)
        self._look_closer(look, [phrase])
        heats: list[np.ndarray | None] = []
        for word, role in phrase.words:
            noun = self.vocabulary.noun(tuple(word.split())) if role == "noun" else None
            if noun:
                calibration = self.people if noun[0].person else self.nouns
                heats.append(noun_heat(self.network, look.sighting, noun[0], calibration))
            else:
                heats.append(word_heat(word, role or "", self._hsv(look), self._speed(look)))
        return self._finds(look, Concept(1, "", phrase.limit), phrase), heats

    def _glance(self, frame: Frame, view: View) -> _Look:
        sighting = self.network.look(frame.image)
        return _Look(frame, view, sighting, self.network.regions(sighting, frame.size), {})

    # The word ---------------------------------------------------------------------------------------------------------
    def _look_closer(self, look: _Look, phrases: Sequence[Phrase]) -> None:
        """Look at each phrase's likeliest boxes alone, all phrases together."""
        chosen: set[int] = set()
        for phrase in phrases:
            for one in (phrase, phrase.relation[1]) if phrase.relation else (phrase,):
                if one.noun:
                    compares = (
                        phrase.limit != 1
                        or one.places
                        or one.size
                        or one.ordinal
                        or one.colours
                        or one.motion
                        or one.relation
                    )
                    opinion = self._opinion(look, one.noun)
                    for name in one.colours:  # cheap, and sure where the word is not
                        opinion = (opinion + DOUBT) * self._colour(look, name)
                    order = np.argsort(-opinion, kind="stable")
                    chosen |= set(order[: MANY if compares else CLOSER].tolist())
        closer = sorted(chosen)
        names = self.network.closer(look.frame.image, look.sighting.boxes[closer])
        if any(phrase.colours for phrase in phrases):
            without = self.network.closer(grey(look.frame.image), look.sighting.boxes[closer])
            look.shapes = {i: _unit(without.features[k]) for k, i in enumerate(closer)}
            names = surer(names, without)
        look.close = {i: (names.classes[k], names.person[k], names.features[k]) for k, i in enumerate(closer)}

    def _opinion(self, look: _Look, noun: Noun) -> np.ndarray:
        """(N,) what a look at the whole frame says, to choose what to look at alone."""
        calibration = self.people if noun.person else self.nouns
        region = noun_odds(look.regions, noun)
        return calibration.score(calibration.said(region, region), look.sighting.objects)

    def word_scores(self, look: _Look, noun: Noun | None, colours: Sequence[str] = ()) -> np.ndarray:
        """(N,) 0..1 of each box; boxes that were not looked at alone count little. Who says "the green car" knows that there is one: a
        box of the right colours needs less of a car."""
        objects = look.sighting.objects
        if noun is None:
            return objects
        scores = np.zeros(len(objects))
        order = sorted(look.close)
        close = Names(*(np.stack([look.close[i][k] for i in order]) for k in range(3)))
        region = Names(*(array[order] for array in look.regions))
        calibration = self.people if noun.person else self.nouns
        far, near = noun_odds(region, noun), noun_odds(close, noun)
        if look.shapes is None:
            said = calibration.said(far, near)
        else:  # the whole frame was seen in its colours alone
            said = calibration.said(np.maximum(far, near), near)
            said = of_twins(said, look.sighting.boxes[order], np.stack([look.shapes[i] for i in order]))
        right = np.prod([self._colour(look, name)[order] for name in colours], axis=0) if colours else 0.0
        scores[order] = calibration.score(said, objects[order], TELLS * right)
        return scores

    # Everything else --------------------------------------------------------------------------------------------------
    def _finds(self, look: _Look, concept: Concept, phrase: Phrase) -> list[Find]:
        word = self.word_scores(look, phrase.noun, phrase.colours)
        parts = {"word" if phrase.noun else "object": word} | self._shares(look, phrase, word)
        scores = np.prod(list(parts.values()), axis=0)
        scores = np.where(parts_of_others(look.sighting.boxes, scores, look.sighting.objects), 0, scores)
        finds = [
            Find(
                concept.id, float(scores[i]), look.sighting.boxes[i], parts={name: float(share[i]) for name, share in parts.items()},
                look=_unit(look.close[i][2]) if i in look.close else None,
            )
            for i in np.flatnonzero(scores >= LEAST).tolist()
        ]  # fmt: skip
        return distinct(finds, 0.5)

    def _shares(self, look: _Look, phrase: Phrase, word: np.ndarray) -> dict[str, np.ndarray]:
        """Name of a part -> (N,) 0.05..1."""
        boxes, size = look.sighting.boxes, look.frame.size
        shares: dict[str, np.ndarray] = {}
        for name in phrase.colours:
            shares[name] = self._colour(look, name)
        for name in phrase.not_colours:
            shares[f"not {name}"] = (1.05 - self._colour(look, name)).clip(0.05, 1)
        if phrase.motion:
            shares[phrase.motion] = self._motion(look, phrase.motion)
        elif phrase.noun and phrase.noun.text in LIVELY:
            shares["lively"] = self._motion(look, "moving").clip(AT_REST, 1)
        so_far = word * np.prod([np.ones(len(word)), *shares.values()], axis=0)
        rivals = _rivals(boxes, so_far)
        for place in phrase.places:
            shares[place] = place_shares(boxes, place, rivals, size)
        if phrase.size:
            shares[phrase.size] = size_shares(boxes, phrase.size, rivals, size)
        if phrase.ordinal:
            shares[f"number {phrase.ordinal}"] = ordinal_shares(boxes, phrase.ordinal, rivals)
        if phrase.relation:
            kind, other = phrase.relation
            likely = self.word_scores(look, other.noun, other.colours)
            for share in self._shares(look, other, likely).values():
                likely = likely * share
            shares[kind] = relation_shares(boxes, kind, boxes, likely)
        return shares

    def _colour(self, look: _Look, name: str) -> np.ndarray:
        hsv = self._hsv(look)
        scale = np.array([hsv.shape[1] / look.frame.size[1], hsv.shape[0] / look.frame.size[0]] * 2)
        return np.array([colour.share(hsv, name, box * scale) for box in look.sighting.boxes])

    def _hsv(self, look: _Look) -> np.ndarray:
        look.hsv = colour.balanced(look.sighting.small) if look.hsv is None else look.hsv
        return look.hsv

    def _motion(self, look: _Look, kind: str) -> np.ndarray:
        """Nothing is moving, or still, before enough frames were seen."""
        boxes, speed = look.sighting.boxes, self._speed(look)
        if speed is None:
            return np.full(len(boxes), 0.05)
        height, width = look.frame.size
        return np.array([motion.share(speed, box / [width, height, width, height], kind) for box in boxes])

    def _speed(self, look: _Look) -> np.ndarray | None:
        import cv2

        if look.speed is None and look.view.past:
            h, w = look.view.past[-1][1].shape[:2]
            now = cv2.resize(look.frame.image, (w, h), interpolation=cv2.INTER_AREA)
            look.speed = motion.own_motion(look.view.past, (look.frame.index, now))
        return look.speed


def _rivals(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes that are as likely the thing as the best one, and apart from each other."""
    rivals = np.zeros(len(boxes), bool)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] < max(RIVAL * scores.max(), 0.1):
            break
        if all(overlap(boxes[i], boxes[k]) < 0.4 for k in kept):
            kept.append(i)
            rivals[i] = True
    return rivals


def parts_of_others(boxes: np.ndarray, scores: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes that lie inside a larger one which is half as likely the thing and half as likely an object: a torso inside its person.
    On 66 frames of the training videos the best box then has a mean IoU of 0.675 instead of 0.648."""
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    inside = (high - low).clip(0).prod(-1) / np.maximum(areas[:, None], 1e-6)
    larger = areas[None] > areas[:, None]
    as_likely = (scores[None] >= 0.5 * scores[:, None]) & (objects[None] >= 0.5 * objects[:, None])
    return ((inside >= INSIDE) & larger & as_likely & (scores[None] > 0)).any(1)


def of_twins(said: np.ndarray, boxes: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """(M,) log odds of a word -> the same, where what is shaped like something surer takes its word: a green horse is hardly one to the
    classifier, but a horse of the same shape stands beside it. boxes (M, 4), shapes (M, D) of unit length."""
    twins = (shapes @ shapes.T >= TWIN) & (pairwise(boxes, boxes) < APART)
    return np.maximum(said, np.where(twins, said[None] - TWIN_COST, -np.inf).max(1, initial=-np.inf))


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 without its colours: the classifier has hardly seen a green elephant, but it has seen its shape."""
    import cv2

    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def surer(one: Names, other: Names) -> Names:
    """Of two looks at the same regions the log probabilities that are greater, class by class; features of the first."""
    logs = [n.classes - np.logaddexp.reduce(n.classes, axis=1, keepdims=True) for n in (one, other)]
    return Names(np.maximum(*logs), np.maximum(one.person, other.person), one.features)


def _unit(features: np.ndarray) -> np.ndarray:
    return features / max(float(np.linalg.norm(features)), 1e-6)
