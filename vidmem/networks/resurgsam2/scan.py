"""The selective scan of Mamba (Gu and Dao 2023, arXiv 2312.00752, algorithm 2): a linear recurrence whose steps depend on the input.

h_i = exp(dt_i A) h_(i-1) + dt_i u_i B_i,  y_i = h_i C_i, with h_(-1) = 0. Always in float32: exponentials of sums underflow in half precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Positions whose factors exist at a time: 6 MB each at 512 channels, 16 states and three directions, which a processor's cache holds."""
CHUNK = 64
"""Positions of a chunk where chunks run side by side. A GPU then needs 2 * 64 + 48 small steps for 3,072 positions, not 3,072."""


def selective_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk: int | None = None) -> Tensor:
    """u, dt (L, R, D), a (R, D, S) negative, b, c (L, R, S) -> y (L, R, D) float32; L positions, R rows, D channels, S states.

    chunk: so many positions one after another, and the chunks side by side; None: that on a GPU, one long chunk on a CPU, where memory traffic
    is the limit and twice the steps would cost twice the time.
    """
    u, dt, a, b, c = (x.float() for x in (u, dt, a, b, c))
    if torch.jit.is_tracing():
        return SelectiveScan.apply(u, dt, a, b, c)
    if chunk is None:
        chunk = CHUNK if u.is_cuda else u.shape[0]
    if chunk >= u.shape[0]:
        return _steps(u, dt, a, b, c, torch.zeros_like(a))[0]
    return _side_by_side(u, dt, a, b, c, chunk)


def _steps(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One position after another from a state (R, D, S) -> y (L, R, D) and the last state."""
    out = []
    for some_u, some_dt, some_b, some_c in zip(*(x.split(BLOCK) for x in (u, dt, b, c))):
        keeps = (some_dt[..., None] * a).exp_()
        states = (some_dt * some_u)[..., None] * some_b[
            :, :, None
        ]  # what comes in; then, in place, the states themselves
        for keep, here in zip(keeps, states):
            state = here.addcmul_(keep, state)
        state = state.clone()  # or it would hold the whole block
        out.append((states @ some_c[..., None])[..., 0])
    return torch.cat(out), state


def _side_by_side(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk: int) -> Tensor:
    """The chunks as rows: first alone, for what each adds to the state; then again, each from where the one before it ends."""
    length, rows = u.shape[:2]
    count = -(-length // chunk)
    spare = count * chunk - length  # positions with dt = 0 change nothing

    def rows_of_chunks(x: Tensor) -> Tensor:
        """(L, R, C) -> (chunk, count * R, C)."""
        x = torch.cat([x, x.new_zeros(spare, *x.shape[1:])]) if spare else x
        return x.unflatten(0, (count, chunk)).transpose(0, 1).flatten(1, 2)

    u, dt, b, c = map(rows_of_chunks, (u, dt, b, c))
    wide = a.repeat(count, 1, 1)
    _, added = _steps(u, dt, wide, b, c, torch.zeros_like(wide))
    kept = (dt.sum(0)[..., None] * wide).exp()
    begins, state = [], torch.zeros_like(a)
    for keep, add in zip(kept.split(rows), added.split(rows)):
        begins.append(state)
        state = keep * state + add
    y, _ = _steps(u, dt, wide, b, c, torch.cat(begins))
    return y.unflatten(1, (count, rows)).transpose(0, 1).flatten(0, 1)[:length]


class SelectiveScan(torch.autograd.Function):
    """Stands for the scan in a traced graph; `export.with_scans` puts ONNX's `Scan` in its place."""

    @staticmethod
    def forward(ctx, u, dt, a, b, c):
        return _steps(u, dt, a, b, c, torch.zeros_like(a))[0]

    @staticmethod
    def symbolic(g, u, dt, a, b, c):
        return g.op("vidmem::SelectiveScan", u, dt, a, b, c)
