"""COCO's compressed run-length encoding; pycocotools does it too, but is compiled, and the core need not require it."""

from __future__ import annotations

import numpy as np


def rle_encode(mask: np.ndarray) -> dict:
    """(H, W) bool -> {"size": [H, W], "counts": str}, equal to `pycocotools.mask.encode` with its bytes decoded."""
    flat = np.asarray(mask, bool).ravel(order="F")  # COCO runs down the columns
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    runs = np.diff(bounds)
    if flat.size and flat[0]:
        runs = np.concatenate([[0], runs])  # the first run is always background
    return {"size": [int(side) for side in mask.shape], "counts": _pack(runs.tolist())}


def rle_decode(rle: dict) -> np.ndarray:
    """The inverse of `rle_encode` -> (H, W) bool. Raises `ValueError` for runs that do not fill the mask, before any memory is taken."""
    height, width = rle["size"]
    runs = _unpack(rle["counts"])
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"runs of {sum(runs)} pixels for a mask of {height}x{width}; expected {height * width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def _pack(runs: list[int]) -> str:
    """Differences to the run before last, in groups of five bits from low to high, offset by 48 (LEB128's cousin)."""
    out = bytearray()
    for i, run in enumerate(runs):
        x = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits = x & 0x1F
            x >>= 5
            more = x != -1 if bits & 0x10 else x != 0
            out.append((bits | 0x20 if more else bits) + 48)
    return out.decode("ascii")


def _unpack(text: str) -> list[int]:
    runs: list[int] = []
    position = 0
    while position < len(text):
        x = shift = 0
        more = True
        while more:
            byte = ord(text[position]) - 48
            position += 1
            x |= (byte & 0x1F) << shift
            shift += 5
            more = bool(byte & 0x20)
            if not more and byte & 0x10:
                x |= -1 << shift
        runs.append(x + runs[-2] if len(runs) > 2 else x)
    return runs
