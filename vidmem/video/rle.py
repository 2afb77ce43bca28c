"""COCO's compressed run-length encoding; pycocotools does it too, but is compiled, and the core need not require it."""

from __future__ import annotations

import numpy as np

MOST_PIXELS = 1 << 27  # of a mask: 128 MB
LONGEST = 7  # letters of one run: 35 bits


def rle_encode(mask: np.ndarray) -> dict:
    """(H, W) bool -> {"size": [H, W], "counts": str}, equal to `pycocotools.mask.encode` with its bytes decoded."""
    flat = np.asarray(mask, bool).ravel(order="F")  # COCO runs down the columns
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    runs = np.diff(bounds)
    if flat.size and flat[0]:
        runs = np.concatenate([[0], runs])  # the first run is always background
    return {"size": [int(side) for side in mask.shape], "counts": _pack(runs.tolist())}


def rle_decode(rle: dict, size: tuple[int, int] | None = None) -> np.ndarray:
    """The inverse of `rle_encode` -> (H, W) bool, in time linear in what is given. size: what (H, W) must be, for runs from outside.

    Raises `ValueError`, before any memory is taken, for another size, more pixels than `MOST_PIXELS`, or runs that do not fill the mask.
    """
    try:
        (height, width), counts = rle["size"], rle["counts"]
    except (TypeError, KeyError, ValueError):
        raise ValueError("not a mask as run lengths; expected {'size': [H, W], 'counts': '...'}") from None
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or not 0 <= side <= MOST_PIXELS:
            raise ValueError(
                f"a mask with a side of {str(side)[:20] if isinstance(side, str) else type(side).__name__}; expected pixels, at most {MOST_PIXELS}"
            )
    if size is not None and (height, width) != tuple(size):
        raise ValueError(f"a mask of {width}x{height} pixels; expected {size[1]}x{size[0]}")
    pixels = int(height) * int(width)
    if pixels > MOST_PIXELS:
        raise ValueError(f"a mask of {width}x{height} pixels; expected at most {MOST_PIXELS} in all")
    if not isinstance(counts, str) or len(counts) > LONGEST * (pixels + 2):
        raise ValueError(
            f"counts of type {type(counts).__name__}, longer than a mask of {width}x{height} can have; expected COCO's compressed text"
        )
    runs = _unpack(counts)
    if (runs.size and (runs.min() < 0 or runs.max() > pixels)) or int(runs.sum()) != pixels:
        raise ValueError(f"runs that do not fill a mask of {height}x{width}; expected {pixels} pixels in all")
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


def _unpack(text: str) -> np.ndarray:
    """The inverse of `_pack` -> (n,) int64. Raises `ValueError` for what `_pack` never writes."""
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("counts hold letters that no run has; expected COCO's compressed text") from None
    last = np.flatnonzero((codes & 0x20) == 0)  # of each number
    if not codes.size:
        return codes
    if codes.min() < 0 or codes.max() > 63 or not last.size or last[-1] != codes.size - 1:
        raise ValueError("counts that are no run lengths, or are cut off; expected COCO's compressed text")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > LONGEST:
        raise ValueError(f"a run of {lengths.max()} letters; expected at most {LONGEST}")
    place = np.arange(codes.size) - np.repeat(first, lengths)
    runs = np.add.reduceat((codes & 0x1F) << (5 * place), first)
    runs -= np.where(codes[last] & 0x10, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])  # each is a difference to the run before last, from the fourth on
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
