"""From logits to how sure a word is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidmem.detect.words.network import Names
from vidmem.detect.words.vocabulary import Noun
from vidmem.errors import ModelError

CLASSES = 1000


def noun_odds(names: Names, noun: Noun) -> np.ndarray:
    """Log odds (M,) that each region is of the noun's classes, or a person where the noun says so: the greater of the two."""
    odds = np.full(len(names.person), -20.0, np.float32)
    if noun.classes:
        of_it = np.zeros(CLASSES, bool)
        of_it[list(noun.classes)] = True
        odds = _logsumexp(names.classes[:, of_it]) - _logsumexp(names.classes[:, ~of_it])
    return np.maximum(odds, names.person) if noun.person else odds


@dataclass(frozen=True)
class Calibration:
    """Log odds of a look at a region, of a closer look, and of a whole object -> a score in 0..1; fitted by `scripts/fit_words.py`."""

    bias: float
    region: float
    close: float
    object: float

    def said(self, region: np.ndarray, close: np.ndarray) -> np.ndarray:
        """(M,) log odds each -> (M,) what both looks say of the word, in log odds."""
        return self.region * region.clip(-8, 8) + self.close * close.clip(-8, 8)

    def score(self, said: np.ndarray, objects: np.ndarray, told: np.ndarray | float = 0.0) -> np.ndarray:
        """(M,) of `said`, (M,) 0..1 of whole objects, and log odds that something else adds -> (M,) 0..1."""
        return 1 / (1 + np.exp(-(self.bias + said + self.object * logit(objects) + told)))


def load_calibration(path: Path) -> tuple[Calibration, Calibration]:
    """Of ImageNet's nouns, and of people. Raises `ModelError`."""
    try:
        given = json.loads(Path(path).read_text())
        return Calibration(**given["noun"]), Calibration(**given["person"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({error}); reinstall vidmem") from None


def logit(p: np.ndarray) -> np.ndarray:
    p = np.asarray(p, np.float32).clip(1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def _logsumexp(z: np.ndarray) -> np.ndarray:
    top = z.max(1, keepdims=True)
    return np.log(np.exp(z - top).sum(1)) + top[:, 0]
