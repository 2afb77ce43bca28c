"""One training step of `nano`: prompt the first frame, correct it, track the rest, and add up what went wrong."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidmem.nn.nano.memory import as_tokens, coarse_keys
from vidmem.nn.nano.model import Nano
from vidmem.nn.nano.prompts import prompt_maps


def random_prompt(target: np.ndarray, rng: np.random.Generator) -> dict:
    """A box with loose edges (half the time) or one click inside. target (h, w) bool -> arguments of `prompt_maps`."""
    y, x = np.nonzero(target)
    if not len(x):
        return {}
    if rng.random() < 0.5:
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


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the hardest 30 % plus dice. logits (B, K, h, w), target (B, 1, h, w) in 0..1 -> (B, K).

    Focal loss from scratch collapses to the empty mask (`../shared/training.md`), hence the bootstrapped form.
    """
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(2)
    hardest = entropy.topk(int(entropy.shape[-1] * 0.3), dim=-1).values.mean(-1)
    share = torch.sigmoid(logits)
    overlap, total = (share * target).flatten(2).sum(-1), (share + target).flatten(2).sum(-1)
    return hardest + 1 - (2 * overlap + 1) / (total + 1)


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

    def _loss(self, name: str, decoded, target: Tensor, spread: float) -> tuple[Tensor, Tensor]:
        """-> loss, mask probabilities of the candidate that the model itself believes (B, 1, h, w)."""
        logits, iou_logits, object_logit = decoded
        per_mask = mask_loss(logits, target)
        present = (target.amax((1, 2, 3)) > 0.5).float()
        # The best candidate learns most, the others a little, so that they differ without dying (SAM's rule, softened).
        loss = ((1 - spread) * per_mask.min(1).values + spread * per_mask.mean(1)).mean()
        with torch.no_grad():
            hard, truth = logits > 0, target > 0.5
            iou = (hard & truth).flatten(2).sum(-1) / (hard | truth).flatten(2).sum(-1).clamp(min=1)
            best = iou_logits.argmax(1)
            self._note(name, float((iou.gather(1, best[:, None])[:, 0] * present).sum() / present.sum().clamp(min=1)))
        loss = loss + 0.3 * F.binary_cross_entropy_with_logits(iou_logits, iou)
        loss = loss + 0.2 * F.binary_cross_entropy_with_logits(object_logit, present)
        chosen = logits[torch.arange(len(best)), best][:, None]
        return loss, torch.sigmoid(chosen)

    def __call__(self, images: Tensor, masks: Tensor) -> Tensor:
        """images (B, T, 3, H, W) in 0..1, masks (B, T, H, W) 0/1 -> scalar loss."""
        model, rng = self.model, self.rng
        batch, frames = images.shape[:2]
        feature, skip, key = (x.unflatten(0, (batch, frames)) for x in self._run(model.encode, images.flatten(0, 1)))
        target = F.avg_pool2d(masks.float().flatten(0, 1)[:, None], 4).unflatten(0, (batch, frames))
        shape = target.shape[-2:]
        fine, coarse = ([f(key[:, t]) for t in range(frames)] for f in (as_tokens, coarse_keys))
        none = torch.zeros(batch, 6, *shape, device=images.device)

        def decode(t, long, new, maps):
            conditioned = model.attend(key[:, t], *long, *new)
            share = torch.cat([conditioned[:, model.config.value_dim :][:, :1],
                               conditioned[:, 2 * model.config.value_dim + 4 :][:, :1]], 1).clamp(1e-3, 1 - 1e-3)
            truth = F.avg_pool2d(target[:, t], 2).expand_as(share)
            direct = F.binary_cross_entropy(share, truth)  # the matching itself must carry the labels
            return self._run(model.mask_decoder, feature[:, t], skip[:, t], conditioned, maps), direct

        def remember(t, share):
            value, coarse_value = self._run(model.memorize, feature[:, t], share)
            return (fine[t], value), (coarse[t], coarse_value)

        def prompted(t, prompts, name, memory=None):
            maps, guess = self._prompts(prompts, shape)
            own, coarse_own = remember(t, guess)
            long = coarse_own if memory is None else tuple(torch.cat(pair, 1) for pair in zip(memory, coarse_own))
            decoded, _ = decode(t, long, own, maps)
            return self._loss(name, decoded, target[:, t], 0.25)

        truth = target[:, :, 0].cpu().numpy() > 0.5
        asked = [random_prompt(m, rng) for m in truth[:, 0]]
        loss, share = prompted(0, asked, "box" if "box" in asked[0] else "click")
        if rng.random() < 0.5:
            soft = share.detach()[:, 0].cpu().numpy()
            asked = [{**a, **correction(m, s > 0.5, rng), "mask": s} for a, m, s in zip(asked, truth[:, 0], soft)]
            extra, share = prompted(0, asked, "corrected")
            loss = loss + extra
        # Prompts are the weak spot, and a later frame, seen as if it were the first, costs no more encoding.
        t = int(rng.integers(1, frames))
        later = [random_prompt(m, rng) for m in (target[:, t, 0].cpu().numpy() > 0.5)]
        extra, _ = prompted(t, later, "box" if "box" in later[0] else "click")
        loss = loss + extra
        given = torch.from_numpy(rng.random(batch) < 0.6).to(images.device)[:, None, None, None]
        new, long = remember(0, torch.where(given, target[:, 0], share.detach()))
        for t in range(1, frames):
            decoded, direct = decode(t, long, new, none)
            extra, share = self._loss("track", decoded, target[:, t], 0.5)
            loss = loss + 1.5 * extra + 0.4 * direct
            if t + 1 < frames:
                new, older = remember(t, share)
                # Older frames join the long read only now and then: the bank may recall them or not.
                if t + 2 < frames and rng.random() < 0.5:
                    long = tuple(torch.cat(pair, 1) for pair in zip(long, older))
        if rng.random() < 0.25:
            soft = share.detach()[:, 0].cpu().numpy()
            asked = [{**correction(m, s > 0.5, rng), "mask": s} for m, s in zip(truth[:, -1], soft)]
            extra, _ = prompted(frames - 1, asked, "corrected", memory=long)
            loss = loss + 0.5 * extra
        return loss
