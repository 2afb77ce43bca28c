"""What a network sees on a frame, and what a search believes of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Candidates(NamedTuple):
    """What `Network.decode` returns for R rows (a row is one object under one hypothesis)."""

    mask_logits: np.ndarray
    """(R, K, h, w) float32 on the host, at the network's mask size: the frame's one large copy. Positive is object."""
    iou: np.ndarray
    """(R, K) float32 on the host: predicted IoU of each of the K masks, 0..1."""
    object_logit: np.ndarray
    """(R,) float32 on the host: presence; positive means visible."""
    pointer: Any = None
    """(R, K, C) object pointers for networks that have them; belongs to the runtime."""


class Chosen(NamedTuple):
    """One candidate that a search believes, for `Network.memorize`."""

    row: int
    candidate: int
    prompted: bool
    """A person's prompt shaped this mask."""
