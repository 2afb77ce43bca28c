"""A small grammar: [all | number | ordinal] {colour | size | place | motion} noun {place | motion | not colour | relation noun phrase}.

Words are taken from left to right, the longest noun first ("black swan" is a bird, "black dog" a dog that is black). Nothing is guessed:
a word that is neither noun, adjective nor small word is unknown, and unknown words are the caller's to refuse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vidmem.detect.words import everyday as words
from vidmem.detect.words.vocabulary import IRREGULAR, LONGEST, Noun, Vocabulary

COLOURS = {**{name: name for name in (*words.HUES, *words.GREYS)}, **words.SAME}
FRAME = {"frame", "picture", "image", "video", "screen", "side", "corner", "edge"}


@dataclass
class Phrase:
    """What a text asks for."""

    noun: Noun | None = None
    """None: any object, as in "the red one"."""
    colours: list[str] = field(default_factory=list)
    not_colours: list[str] = field(default_factory=list)
    size: str | None = None
    """`big`, `small`: by area. `biggest`, `smallest`: by rank among finds."""
    places: list[str] = field(default_factory=list)
    """Of left, right, top, bottom, middle, front and back."""
    motion: str | None = None
    """`moving` or `still`."""
    ordinal: int | None = None
    """1: the first from the left; -1: the last."""
    relation: tuple[str, Phrase] | None = None
    """near, above, below, left or right, and of what."""
    limit: int | None = 1
    words: list[tuple[str, str | None]] = field(default_factory=list)
    """Every word or name of the text in order, and what it was taken for; None: unknown."""
    problem: str | None = None
    """Why the words are no phrase, though each is known."""

    @property
    def unknown(self) -> list[str]:
        return [word for word, role in self.words if role is None]


def tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("-", " "))


def read(text: str, vocabulary: Vocabulary) -> Phrase:
    """Any text -> what is understood of it."""
    return _Reader(tokens(text), vocabulary).phrase()


class _Reader:
    def __init__(self, tokens: list[str], vocabulary: Vocabulary):
        self.tokens, self.vocabulary, self.at, self.out = tokens, vocabulary, 0, Phrase()

    def phrase(self) -> Phrase:
        self.thing = False  # a noun, or "one", was read
        while self.at < len(self.tokens):
            _ = self.relation() or self.place() or self.noun() or self.word()
        out = self.out
        if not self.thing and "orange" in out.colours and len(out.colours) == 1:  # the fruit
            out.colours, out.noun = [], self.vocabulary.nouns["orange"]
            out.words = [(w, "noun" if w == "orange" else role) for w, role in out.words]
            self.thing = True
        asks = out.colours or out.not_colours or out.size or out.places or out.motion or out.ordinal
        if not (out.unknown or out.problem or out.noun or (asks and self.tokens)):
            out.problem = "it names no thing; say for instance 'dog', 'red car' or 'the moving one'"
        if out.size in ("biggest", "smallest") or out.ordinal:
            out.limit = 1
        return out

    def consume(self, count: int, role: str | None) -> bool:
        """Take so many words as one. Always true."""
        self.out.words.append((" ".join(self.tokens[self.at : self.at + count]), role))
        self.at += count
        return True

    def ahead(self, *sets) -> bool:
        """Whether the next words are of these sets, one after the other."""
        here = self.tokens[self.at : self.at + len(sets)]
        return len(here) == len(sets) and all(word in some for word, some in zip(here, sets))

    def relation(self) -> bool:
        """After the noun: a preposition, and another phrase for all that is left."""
        if not self.thing:
            return False
        tokens, at = self.tokens, self.at
        the = {"the", "its", "my"}
        for lead in ((words.AT, the), (words.AT,), ()):
            n = len(lead)
            if self.ahead(*lead, words.PLACES) and tokens[at + n + 1 : at + n + 2] == ["of"]:
                rest = [w for w in tokens[at + n + 2 :] if w not in words.SMALL_WORDS]
                kind = {"top": "above", "bottom": "below", "front": "near", "back": "near", "middle": "near"}
                if rest and rest[0] not in FRAME:
                    place = words.PLACES[tokens[at + n]]
                    return self.related(kind.get(place, place), n + 2)
        if (
            self.ahead(words.RELATIONS)
            and not self.ahead({"on", "in"}, words.PLACES)
            and not self.ahead({"on", "in"}, the, words.PLACES)
        ):
            return self.related(words.RELATIONS[tokens[at]], 2 if tokens[at + 1 : at + 2] in (["to"], ["of"]) else 1)
        return False

    def related(self, kind: str, count: int) -> bool:
        self.consume(count, "relation")
        other = _Reader(self.tokens[self.at :], self.vocabulary).phrase()
        self.at = len(self.tokens)
        self.out.words += other.words
        self.out.relation = (kind, other)
        self.out.problem = self.out.problem or other.problem
        return True

    def place(self) -> bool:
        the = {"the", "far"}
        for lead in ((words.AT, the, {"far"}), (words.AT, the), (words.AT,), ({"far"},), ()):
            if self.ahead(*lead, words.PLACES):
                place = words.PLACES[self.tokens[self.at + len(lead)]]
                self.consume(len(lead) + 1, "place")
                self.out.places.append(place)
                if self.ahead(words.PLACES):  # top left
                    self.out.places.append(words.PLACES[self.tokens[self.at]])
                    self.consume(1, "place")
                while self.ahead(FRAME | {"of", "the", "hand"}) and (set(self.tokens[self.at : self.at + 3]) & FRAME):
                    self.consume(1, "small word")
                return True
        if self.ahead({"from"}, {"the"}, words.PLACES) or self.ahead({"from"}, words.PLACES):
            count = 3 if self.tokens[self.at + 1] == "the" else 2
            if words.PLACES[self.tokens[self.at + count - 1]] == "right" and self.out.ordinal:
                self.out.ordinal = -self.out.ordinal
            return self.consume(count, "place")
        return False

    def noun(self) -> bool:
        for count in range(min(LONGEST, len(self.tokens) - self.at), 0, -1):
            some = tuple(self.tokens[self.at : self.at + count])
            if count == 1 and self.modifies(some[0]):
                return False
            found = self.vocabulary.noun(some)
            if not found:
                continue
            noun, plural = found
            if self.thing and self.out.noun:
                return self.second(self.out.noun, noun, plural, count)
            self.out.noun, self.thing = noun, True
            self.plural(plural)
            return self.consume(count, "noun")
        return False

    def second(self, first: Noun, noun: Noun, plural: bool, count: int) -> bool:
        """A noun right after a noun: one that says more of the other, if any class is both."""
        joined = first.classes & noun.classes
        if self.out.words[-1][1] == "noun" and (joined or (first.person and noun.person)):
            self.out.noun = Noun(f"{first.text} {noun.text}", joined, first.person and noun.person)
            self.plural(plural)
        elif self.out.words[-1][1] == "noun":
            self.out.problem = f"I cannot join {first.text!r} and {noun.text!r}; say one of them"
        else:
            self.out.problem = (
                self.out.problem or f"{first.text!r} and {noun.text!r} are two things; give a text for each"
            )
        return self.consume(count, "noun")

    def plural(self, plural: bool) -> None:
        if plural and self.out.limit == 1 and not any(role == "number" for _, role in self.out.words):
            self.out.limit = None

    def modifies(self, word: str) -> bool:
        """Whether a single word is an adjective here, though it may be a noun elsewhere."""
        tables = (
            COLOURS,
            words.SIZES,
            words.MOTIONS,
            words.ORDINALS,
            words.NUMBERS,
            words.ALL,
            words.THINGS,
            words.SMALL_WORDS,
        )
        return any(word in table for table in tables)

    def word(self) -> bool:
        word, out = self.tokens[self.at], self.out
        last = self.at == len(self.tokens) - 1
        if word in ("not", "no", "without", "non") and self.tokens[self.at + 1 : self.at + 2]:
            following = self.tokens[self.at + 1]
            if following in COLOURS:
                out.not_colours.append(COLOURS[following])
                return self.consume(2, "colour")
            if following in words.MOTIONS:
                out.motion = "still" if words.MOTIONS[following] == "moving" else "moving"
                return self.consume(2, "motion")
            out.problem = f"{word!r} is understood before a colour or a motion only"
            return self.consume(1, "small word")
        if word in words.THINGS and not (word == "one" and not last and not self.thing and self.is_noun_ahead()):
            self.thing = True
            self.plural(word in ("things", "ones", "objects"))
            return self.consume(1, "noun")
        if word in COLOURS:
            out.colours.append(COLOURS[word])
            return self.consume(1, "colour")
        if word in words.SIZES:
            out.size = words.SIZES[word]
            return self.consume(1, "size")
        if word in words.MOTIONS:
            out.motion = words.MOTIONS[word]
            return self.consume(1, "motion")
        if word in words.ORDINALS:
            out.ordinal = words.ORDINALS[word]
            return self.consume(1, "ordinal")
        if word in words.NUMBERS or (word.isdigit() and len(word) <= 2 and int(word)):
            out.limit = words.NUMBERS.get(word) or int(word)
            return self.consume(1, "number")
        if word in words.ALL:
            out.limit = None
            return self.consume(1, "number")
        if word in ("and", "but") or word in words.SMALL_WORDS:
            return self.consume(1, "small word")
        if word == "or":
            out.problem = "'or' is not understood; give a text for each thing"
            return self.consume(1, "small word")
        return self.consume(1, None)

    def is_noun_ahead(self) -> bool:
        return any(self.vocabulary.noun((w,)) or w in IRREGULAR for w in self.tokens[self.at + 1 :])
