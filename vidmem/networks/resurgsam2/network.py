"""ReSurgSAM2 on PyTorch: SAM 2's four functions, and two for words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vidmem.networks.base import Sought
from vidmem.networks.resurgsam2.config import arranged
from vidmem.networks.sam2.eager import Sam2Network
from vidmem.networks.sam2.host import Read, Sam2Features


class Words(NamedTuple):
    """What the network made of a text."""

    sentence: Any  # (1, T, 256)
    name: Any  # (1, 1, 256), a prompt token


class ReSurgNetwork(Sam2Network):
    """Implements `vidmem.networks.base.Network`. model: a loaded `ReSurgSam2`; tower: text -> hidden (1, T, 512) and pooled (1, 512), see
    `vidmem.networks.resurgsam2.text`. Memories are made of soft masks, as in the original's evaluation (`apply_postprocessing=False`)."""

    reads_words = True

    def __init__(self, name: str, model, tower, device="cpu", precision: str = "fp32"):
        super().__init__(name, model, device, precision, post=False)
        self._tower = tower

    def understand(self, text: str) -> Words:
        hidden, pooled = self._tower(text)
        return Words(*self._run(self.model.words, hidden.to(self.device), pooled.to(self.device)))

    def refer(self, features: Sam2Features, sought: Sequence[Sought | None], conditioned: list) -> list:
        return [read if row is None else self._referred(features, row, read) for row, read in zip(sought, conditioned)]

    def _referred(self, features: Sam2Features, row: Sought, read: Read | None) -> Read:
        """With a memory the name goes to the decoder beside it; without one the words look for themselves."""
        name = row.words.name
        if read is not None:
            return read._replace(extra=name)
        if row.placed:
            return Read(None, [], name)
        places, codes = arranged(len(row.past))
        seen = [features, *row.past]
        frames = self._torch.cat([seen[place].feature for place in places])
        codes = self._torch.tensor(codes, device=self.device)
        image, meant = self._run(self.model.refer, frames, codes, row.words.sentence)
        return Read(image, [], self._torch.cat([name, meant], 1))
