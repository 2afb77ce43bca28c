"""What nouns mean: names of ImageNet's 1,000 classes, their last words, and everyday words."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vidmem.detect.words import everyday
from vidmem.errors import ModelError

LONGEST = 4  # words of a noun
IRREGULAR = {"geese": "goose", "mice": "mouse", "feet": "foot", "wolves": "wolf", "knives": "knife", "calves": "calf", "oxen": "ox",
             "sheep": "sheep", "fish": "fish", "men": "man", "women": "woman", "people": "person", "children": "child",
             "deer": "deer", "cattle": "cattle", "calf": "calf", "leaves": "leaf"}  # fmt: skip
PLURAL = {
    "geese",
    "mice",
    "wolves",
    "knives",
    "men",
    "women",
    "people",
    "children",
    "cattle",
    "things",
    "ones",
    "objects",
}


@dataclass(frozen=True)
class Noun:
    """A noun and its evidence."""

    text: str
    classes: frozenset[int] = frozenset()
    """ImageNet's classes that count for it."""
    person: bool = False
    """The person head counts for it, too."""


class Vocabulary:
    """names: a line for each class, its names with commas between."""

    def __init__(self, names: list[str]):
        self.names = [line.split(",")[0].strip() for line in names]
        self.nouns: dict[str, Noun] = {}
        heads: dict[str, set[int]] = {}
        exact: dict[str, set[int]] = {}
        for index, line in enumerate(names):
            for name in (name.strip().lower().replace("-", " ") for name in line.split(",")):
                exact.setdefault(name, set()).add(index)
                heads.setdefault(name.split()[-1], set()).add(index)
        for table in (heads, exact):
            self.nouns |= {name: Noun(name, frozenset(indices)) for name, indices in table.items()}
        daily = {
            noun.replace("-", " "): parse(spec) for line, spec in everyday.EVERYDAY.items() for noun in line.split()
        }
        self.nouns |= {noun: Noun(noun, classes) for noun, classes in daily.items()}
        self.nouns |= {word: Noun(word, person=True) for word in everyday.PEOPLE}
        self.nouns |= {word: Noun(word, parse(spec), True) for word, spec in everyday.RIDERS.items()}
        self.common = sorted({*(n.lower() for n in self.names), *daily, *everyday.PEOPLE})

    def noun(self, words: tuple[str, ...]) -> tuple[Noun, bool] | None:
        """A noun of these words, whole, and whether it is a plural; None: there is none."""
        *first, last = words
        for form, plural in forms(last):
            found = self.nouns.get(" ".join([*first, form]))
            if found:
                return found, plural
        return None

    def near(self, word: str) -> list[str]:
        """Words that are spelled like it, at most three."""
        return difflib.get_close_matches(word, self.common, 3, 0.7)


def forms(word: str) -> list[tuple[str, bool]]:
    """What a word may be the plural of, the likeliest first."""
    if word in IRREGULAR:
        return [(IRREGULAR[word], word in PLURAL), (word, False)]
    found = [(word, False)]
    for ending, stem in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1 and not word.endswith("ss"):
            found.append((word.removesuffix(ending) + stem, True))
    return found


def parse(spec: str) -> frozenset[int]:
    """ "3 7-9" -> 3, 7, 8, 9."""
    spans = [part.split("-") for part in spec.split()]
    return frozenset(i for span in spans for i in range(int(span[0]), int(span[-1]) + 1))


@cache
def load_vocabulary(path: Path) -> Vocabulary:
    """Raises `ModelError` for a file that is not there or has not 1,000 lines."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); reinstall vidmem") from None
    if len(lines) != 1000:
        raise ModelError(
            f"{path} has {len(lines)} lines; expected the 1,000 names of ImageNet's classes; reinstall vidmem"
        )
    return Vocabulary(lines)
