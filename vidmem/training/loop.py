"""One training step of `nano`: prompt the first frame, correct it, track the rest, and add up what went wrong.

A *row* is one object of one clip. Rows of a clip share its encoded frames and compete for its pixels in what is remembered,
as the objects of a session do.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidmem.networks.nano.memory import as_tokens, coarse_keys
from vidmem.networks.nano.model import Nano
from vidmem.networks.nano.prompts import prompt_maps
from vidmem.training.data import IGNORE, OTHER, TARGET


def random_prompt(target: np.ndarray, rng: np.random.Generator, boxes: float = 0.4) -> dict:
    """A box with loose edges, or one click inside. target (h, w) bool -> arguments of `prompt_maps`."""
    y, x = np.nonzero(target)
    if not len(x):
        return {}
    if rng.random() < boxes:
        slack = rng.normal(0, 0.04, 4) * np.array([np.ptp(x) + 1, np.ptp(y) + 1] * 2)
        return {"box": np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) + slack}
    return {"points": inner_point(target, rng)[None], "labels": np.array([1])}


def inner_point(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A point of the region, more often deep inside; (x, y) at the cell's centre."""
    depth = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.nonzero(depth >= depth.max() * rng.uniform(0.3, 1.0))
    pick = rng.integers(len(x))
    return np.array([x[pick] + 0.5, y[pick] + 0.5])


def correction(target: np.ndarray, guess: np.ndarray, rng: np.random.Generator) -> dict:
    """The click that a person would add: inside the larger error."""
    missed, extra = target & ~guess, guess & ~target
    label = int(missed.sum() >= extra.sum())
    region = missed if label else extra
    if not region.any():
        return {}
    return {"points": inner_point(region, rng)[None], "labels": np.array([label])}


def joined(asked: dict, more: dict) -> dict:
    """Two prompts for one object on one frame as one."""
    both = {**asked, **more}
    for name in ("points", "labels"):
        if name in asked and name in more:
            both[name] = np.concatenate([asked[name], more[name]])
    return both


def mask_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of the hardest 30 % plus dice. logits (R, K, h, w), target and valid (R, 1, h, w) in 0..1 -> (R, K).

    Focal loss from scratch collapses to the empty mask, hence the bootstrapped form.
    """
    target, valid = target.expand_as(logits), valid.expand_as(logits)
    entropy = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * valid).flatten(2)
    hardest = entropy.topk(int(entropy.shape[-1] * 0.3), dim=-1).values.mean(-1)
    share, target = torch.sigmoid(logits) * valid, target * valid
    overlap, total = (share * target).flatten(2).sum(-1), (share + target).flatten(2).sum(-1)
    return hardest + 1 - (2 * overlap + 1) / (total + 1)


def compete(share: Tensor, clip: Tensor) -> Tensor:
    """Soft aggregation (STM, Oh et al. 2019): rows of one clip share its pixels by the odds of their probabilities, and the
    background's. share (R, 1, h, w); clip (R,). A row that is alone keeps what it has."""
    odds = share.clamp(1e-4, 1 - 1e-4) / (1 - share.clamp(1e-4, 1 - 1e-4))
    total = torch.zeros(int(clip.max()) + 1, *share.shape[1:], device=share.device).index_add(0, clip, odds)
    return odds / (1 + total[clip])


class Step:
    """Runs the clips of a batch through the model as a session would and sums the losses."""

    def __init__(self, model: Nano, rng: np.random.Generator, half: bool = False):
        """half: convolutions in bfloat16; losses, memory reads and weights stay float32."""
        self.model, self.rng, self.device, self.half = model, rng, next(model.parameters()).device, half
        self.parts: dict[str, list[float]] = {}

    def _note(self, name: str, value: float) -> None:
        self.parts.setdefault(name, []).append(value)

    def _run(self, module, *inputs):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return tuple(output.float() for output in module(*inputs))

    def _prompts(self, prompts: list[dict], shape) -> tuple[Tensor, Tensor]:
        pairs = [prompt_maps(shape, **p) for p in prompts]
        maps, guess = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*pairs))
        return maps, guess[:, None]

    def _loss(self, name: str, decoded, target: Tensor, valid: Tensor, spread: float) -> tuple[Tensor, Tensor]:
        """-> loss, mask probabilities of the candidate that the model itself believes (R, 1, h, w). Absent frames teach
        presence alone: a mask that is told to be empty there is soon empty also when the object returns (measured: J after a return fell)."""
        logits, iou_logits, object_logit = decoded
        per_mask = mask_loss(logits, target, valid)
        area = target.amax((1, 2, 3))
        present = (area > 0.5).float()
        # The best candidate learns most, the others a little, so that they differ without dying (SAM's rule, softened).
        per_row = (1 - spread) * per_mask.min(1).values + spread * per_mask.mean(1)
        loss = (per_row * present).sum() / len(present)
        with torch.no_grad():
            hard, truth = logits > 0, target > 0.5
            iou = (hard & truth).flatten(2).sum(-1) / (hard | truth).flatten(2).sum(-1).clamp(min=1)
            best = iou_logits.argmax(1)
            self._note(name, float((iou.gather(1, best[:, None])[:, 0] * present).sum() / present.sum().clamp(min=1)))
            right = ((object_logit > 0) == (present > 0)).float()
            if name == "track":
                self._note("seen", float((right * present).sum() / present.sum().clamp(min=1)))
                if present.min() < 1:
                    self._note("silent", float((right * (1 - present)).sum() / (1 - present).sum()))
        scored = F.binary_cross_entropy_with_logits(iou_logits, iou, reduction="none").mean(1)
        loss = loss + 0.3 * (scored * present).sum() / len(present)
        # Absent frames are the rarer ones by five to one; a sliver of an object is neither.
        counts = torch.where(present > 0, 1.0, 4.0) * ((area > 0.5) | (area < 0.02))
        seen = F.binary_cross_entropy_with_logits(object_logit, present, reduction="none")
        loss = loss + 0.3 * (seen * counts).sum() / len(counts)
        chosen = logits[torch.arange(len(best)), best][:, None]
        return loss, torch.sigmoid(chosen)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """images (B, T, 3, H, W) in 0..1, labels (B, T, H, W) as `clips.Clip.labels` -> scalar loss."""
        model, rng = self.model, self.rng
        batch, frames = images.shape[:2]
        encoded = self._run(model.encode, images.flatten(0, 1))
        feature, skip, key, identity = (x.unflatten(0, (batch, frames)) for x in encoded)
        enough = ((labels[:, 0] == OTHER).flatten(1).sum(1) >= 100) & torch.from_numpy(rng.random(batch) < 0.7).to(
            self.device
        )
        rows = [(b, TARGET) for b in range(batch)] + [(b, OTHER) for b in range(batch) if enough[b]]
        clip = torch.tensor([b for b, _ in rows], device=self.device)
        one_of = torch.tensor([obj for _, obj in rows], device=self.device)[:, None, None, None]
        mine = labels[clip]
        target = F.avg_pool2d((mine == one_of).float(), 4)[:, :, None]  # (R, T, 1, h, w)
        valid = 1 - F.avg_pool2d((mine == IGNORE).float(), 4)[:, :, None]
        shape = target.shape[-2:]
        fine = [as_tokens(key[:, t])[clip] for t in range(frames)]
        coarse = [coarse_keys(key[:, t], identity[:, t])[clip] for t in range(frames)]
        key, feature, skip = key[clip], feature[clip], skip[clip]
        none = torch.zeros(len(rows), 6, *shape, device=self.device)
        value_dim, width = model.config.value_dim, model.config.value_dim + 4

        def decode(t, long, new, maps):
            conditioned = model.attend(key[:, t], coarse[t], *long, *new)
            share = conditioned[:, [value_dim, width + value_dim]].clamp(1e-3, 1 - 1e-3)
            truth = F.avg_pool2d(target[:, t], 2)
            there = (target[:, t].amax((1, 2, 3)) > 0.5).float()
            # The matching itself must carry the labels, and so must the identities.
            direct = F.binary_cross_entropy(share, truth.expand_as(share), reduction="none").mean((1, 2, 3))
            same = 12 * (conditioned[:, -2:-1] - conditioned[:, -1:])
            direct = direct + 0.5 * F.binary_cross_entropy_with_logits(same, truth, reduction="none").mean((1, 2, 3))
            direct = (direct * there).sum() / len(there)
            return self._run(model.mask_decoder, feature[:, t], skip[:, t], conditioned, maps), direct

        def remember(t, share):
            value, coarse_value = self._run(model.memorize, feature[:, t], share)
            return (fine[t], value), (coarse[t], coarse_value)

        def prompted(t, prompts, name, memory=None):
            maps, guess = self._prompts(prompts, shape)
            own, coarse_own = remember(t, guess)
            long = coarse_own if memory is None else tuple(torch.cat(pair, 1) for pair in zip(memory, coarse_own))
            decoded, direct = decode(t, long, own, maps)
            loss, share = self._loss(name, decoded, target[:, t], valid[:, t], 0.25)
            return loss + 0.1 * direct, share

        truth = target[:, :, 0].cpu().numpy() > 0.5
        asked = [random_prompt(m, rng) for m in truth[:, 0]]
        loss, share = prompted(0, asked, "box" if "box" in asked[0] else "click")
        for _ in range(int(rng.choice(4, p=[0.4, 0.35, 0.15, 0.1]))):
            soft = share.detach()[:, 0].cpu().numpy()
            asked = [{**joined(a, correction(m, s > 0.5, rng)), "mask": s} for a, m, s in zip(asked, truth[:, 0], soft)]
            extra, share = prompted(0, asked, "corrected")
            loss = loss + 0.7 * extra
        # Prompts are the weak spot, and a later frame, seen as if it were the first, costs no more encoding.
        t = int(rng.integers(1, frames))
        later = [random_prompt(m, rng) for m in truth[:, t]]
        extra, _ = prompted(t, later, "box" if "box" in later[0] else "click")
        loss = loss + extra
        given = torch.from_numpy(rng.random(len(rows)) < 0.6).to(self.device)[:, None, None, None]
        new, long = remember(0, torch.where(given, target[:, 0], compete(share.detach(), clip)))
        for t in range(1, frames):
            decoded, direct = decode(t, long, new, none)
            extra, share = self._loss("track", decoded, target[:, t], valid[:, t], 0.5)
            loss = loss + (1.5 * extra + 0.4 * direct) * 3 / (frames - 1)
            if t + 1 < frames:
                visible = (decoded[2] > 0) & (target[:, t].amax((1, 2, 3)) > 0.5)
                fresh, older = remember(t, compete(share * visible[:, None, None, None], clip))
                keep = visible[:, None, None]  # what is not seen is not remembered, as the banks have it
                new = tuple(torch.where(keep, a, b) for a, b in zip(fresh, new))
                # Older frames join the long read only now and then: the bank may recall them or not. Who was away joins nothing new.
                if t + 2 < frames and long[0].shape[1] < 4 * coarse[0].shape[1] and rng.random() < 0.5:
                    long = tuple(
                        torch.cat([a, torch.where(keep, b, a[:, : b.shape[1]])], 1) for a, b in zip(long, older)
                    )
        if rng.random() < 0.25:
            soft = share.detach()[:, 0].cpu().numpy()
            asked = [{**correction(m, s > 0.5, rng), "mask": s} for m, s in zip(truth[:, -1], soft)]
            extra, _ = prompted(frames - 1, asked, "corrected", memory=long)
            loss = loss + 0.5 * extra
        return loss
