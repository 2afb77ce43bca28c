"""The memory of `nano`: how a mask becomes tokens, and how a frame reads them.

Matching is space-time correspondence as in STCN (Cheng et al. 2021, arXiv 2106.05210): keys depend on the image alone,
values also on the mask. Similarity is the cosine with a learned temperature. Two reads are made. The *long* read looks at
every recalled token without regard to place; its tokens are averaged 2x2, for it must know what, not exactly where, and
costs a quarter. The *local* read looks at the newest entry alone and prefers nearby tokens
(the short-term attention of AOT, Yang et al. 2021, arXiv 2106.02638, with a Gaussian instead of a window).

Beside matching, which asks "where did this patch come from", a frame asks "is this the same thing": the *identities* of all
remembered object tokens are averaged to one descriptor, those of the background to another, and each cell is compared with both.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.nano.encoder import Residual, upsample2


def token_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(h*w, 2) centred token coordinates, row by row."""
    y = torch.arange(height, dtype=like.dtype, device=like.device) - (height - 1) / 2
    x = torch.arange(width, dtype=like.dtype, device=like.device) - (width - 1) / 2
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)


def as_tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h*w, C)."""
    return x.flatten(2).transpose(1, 2)


def coarse_keys(key: Tensor, identity: Tensor) -> Tensor:
    """(B, C, h, w) unit keys, (B, I, h/2, w/2) unit identities -> (B, h*w/4, C + I): what a token of the long read is known by."""
    return torch.cat([as_tokens(F.normalize(F.avg_pool2d(key, 2), dim=1)), as_tokens(identity)], -1)


class MemoryEncoder(nn.Module):
    """Mask and feature to value tokens. The last value channel is the mask itself, averaged over the token's cell."""

    def __init__(self, feature_dim: int, value_dim: int):
        super().__init__()
        self.mask = nn.Conv2d(1, 16, 3, 2, 1)
        self.feature = nn.Conv2d(feature_dim, 24, 1)
        self.fuse = Residual(40, 32)
        self.value = nn.Conv2d(32, value_dim, 1)

    def forward(self, feature: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """feature (1 or R, F, h, w), mask (R, 1, 2h, 2w) in 0..1 -> values (R, h*w, V + 1) for the local read and
        (R, h*w/4, V + 1) for the long one."""
        image = F.relu(self.feature(feature)).expand(mask.shape[0], -1, -1, -1)
        x = torch.cat([F.relu(self.mask(mask * 2 - 1)), image], 1)
        value = torch.cat([self.value(self.fuse(x)), F.avg_pool2d(mask, 2)], 1)
        return as_tokens(value), as_tokens(F.avg_pool2d(value, 2))


class MemoryAttention(nn.Module):
    """Reads memory tokens for every cell of the current frame."""

    def __init__(self, temperature: float = 16.0, reach: float = 6.0):
        super().__init__()
        self.blocks = (
            1  # queries are read in so many parts; an export sets it, so that scores stay in a processor's cache
        )
        self.log_temperature = nn.Parameter(torch.tensor([math.log(temperature)] * 2))
        self.log_reach = nn.Parameter(torch.tensor(math.log(reach)))  # tokens: the Gaussian's standard deviation

    def _read(
        self, query: Tensor, keys: Tensor, value: Tensor, temperature: Tensor, offset: Tensor | float,
        hidden: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """query (1 or G, Q, C) already times temperature, keys (G, N, C), value (R, N, V + 1), where each keys serve R/G
        consecutive rows -> (R, Q, V + 4): value, share of object, and how well the best object token and the best background
        token match (in cosine units).

        The softmax is spelled out: its maximum is one of the answers, and its sum is one more column of the product.
        """
        groups, count = keys.shape[0], query.shape[1] // self.blocks
        rows, tokens, width = value.shape
        beside = value.reshape(groups, rows // groups, tokens, width).transpose(1, 2).reshape(groups, tokens, -1)
        counted = torch.cat([beside, torch.ones_like(keys[..., :1])], -1)
        across, parts, most = keys.transpose(1, 2), [], []
        for block in range(self.blocks):
            first = block * count
            some = query[:, first : first + count] if block < self.blocks - 1 else query[:, first:]
            similarity = some @ across if hidden is None else some @ across + hidden[:, None]
            most.append(
                similarity.detach().amax(-1, keepdim=True)
            )  # the ratio below does not depend on it: no gradient to follow
            parts.append((similarity - most[-1]).exp() @ counted)
        read, best = torch.cat(parts, 1), (torch.cat(most, 1) + offset) / temperature
        read = read[..., :-1] / read[..., -1:]
        read = read.reshape(groups, -1, rows // groups, width).transpose(1, 2).reshape(rows, -1, width)
        best = best[:, None].expand(-1, rows // groups, -1, -1).reshape(rows, -1, 1)
        share = read[..., -1:].clamp(1e-4, 1 - 1e-4)
        return torch.cat([read, best, best + share.log() / temperature, best + (1 - share).log() / temperature], -1)

    def forward(
        self, key: Tensor, coarse: Tensor, long_key: Tensor, long_value: Tensor, new_key: Tensor, new_value: Tensor,
        hidden: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """key (1 or R, C, h, w) and coarse (1 or R, h*w/4, C + I) of the current frame, long_key (1 or R, N, C + I), long_value
        (R, N, V + 1), new_key (1 or R, h*w, C), new_value (R, h*w, V + 1) -> conditioned (R, 2 * (V + 4) + 2, h, w). Keys know
        nothing of objects: rows that remember the same frame share them, and then also their scores, which are most of the work.
        hidden (R, N): added to the scores of the long read, 0, or very negative for tokens that are not there; those are zeros, so
        they add nothing to a descriptor either."""
        height, width = key.shape[-2:]
        dim = key.shape[1]
        same = self._same(coarse[..., dim:], long_key[..., dim:], long_value[..., -1:], height, width)
        long_key = long_key[..., :dim]
        query = as_tokens(key)
        t_long, t_local = self.log_temperature.exp().unbind()
        long = self._read(query * t_long, long_key, long_value, t_long, 0.0, hidden)
        # The Gaussian enters as three more channels: -|q - n|^2 = 2 q.n - |n|^2 - |q|^2, and |q|^2 is the same for every n.
        grid = token_grid(height, width, key)
        weight = 0.5 * torch.exp(-2 * self.log_reach)
        square = (grid * grid).sum(-1, keepdim=True) * weight
        place_q = torch.cat([grid * (2 * weight), -torch.ones_like(square)], -1).expand(query.shape[0], -1, -1)
        place_n = torch.cat([grid, square], -1).expand(new_key.shape[0], -1, -1)
        query = torch.cat([query * t_local, place_q], -1)
        local = self._read(query, torch.cat([new_key, place_n], -1), new_value, t_local, -square)
        out = torch.cat([long, local], -1).transpose(1, 2)
        return torch.cat([out.reshape(out.shape[0], -1, height, width), same], 1)

    @staticmethod
    def _same(identity: Tensor, remembered: Tensor, share: Tensor, height: int, width: int) -> Tensor:
        """identity (1 or R, h*w/4, I), remembered (1 or R, N, I), share (R, N, 1) of object -> (R, 2, h, w): the cosine of each
        cell with the object's descriptor and with the background's."""
        both = torch.cat([share, 1 - share], -1).transpose(1, 2)
        descriptors = F.normalize(both @ remembered, dim=-1)
        cosines = (descriptors @ identity.transpose(1, 2)).unflatten(-1, (height // 2, width // 2))
        return upsample2(cosines)
