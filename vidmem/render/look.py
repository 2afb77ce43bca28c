"""How results are drawn: one value that goes to every export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vidmem.errors import PromptError
from vidmem.names import shown
from vidmem.render.colors import color
from vidmem.render.effects import EFFECTS

THICKEST = 100  # pixels of an outline


@dataclass(frozen=True)
class Look:
    """Raises `PromptError` for a number or an effect that there is not."""

    opacity: float = 0.5
    """Of the tint, 0 (the outline alone) to 1."""
    thickness: int | None = None
    """Of the outline, pixels; 0: none; None: 2, and none with an effect."""
    labels: bool | None = None
    """Write name, status and score beside each object; None: yes, and no with an effect."""
    effect: str | None = None
    """One of `EFFECTS` instead of the tint."""
    names: Mapping[int, str] = field(default_factory=dict)
    """obj_id -> what it is called."""
    colors: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    """obj_id -> RGB, 0..255; the others have `vidmem.render.color(obj_id)`."""

    def __post_init__(self):
        if not 0 <= self.opacity <= 1:
            raise PromptError(f"opacity is {self.opacity}; expected from 0 (outline alone) to 1")
        if self.thickness is not None and not 0 <= self.thickness <= THICKEST:
            raise PromptError(f"thickness is {self.thickness}; expected pixels, from 0 (no outline) to {THICKEST}")
        if self.effect is not None and self.effect not in EFFECTS:
            raise PromptError(f"there is no effect {self.effect!r}; choose from: {', '.join(EFFECTS)}")

    def of(self, prompts: Iterable) -> Look:
        """With the names and colours that prompts (`PromptAt`) give their objects; what was looked for by a text is called that."""
        prompts = list(prompts)
        names = {p.obj_id: p.label or shown(p.text.strip()) for p in prompts if p.label or p.text}
        colors = {p.obj_id: p.color for p in prompts if p.color is not None}
        return replace(self, names={**self.names, **names}, colors={**self.colors, **colors})

    def name(self, obj_id: int) -> str:
        return self.names.get(int(obj_id), str(obj_id))

    def color(self, obj_id: int) -> tuple[int, int, int]:
        """RGB, 0..255."""
        return self.colors.get(int(obj_id)) or color(int(obj_id))

    def about(self, obj_id: int) -> dict[str, str]:
        """What a person said of the object, for files that have a place for it: `label`, `color` as #rrggbb; often nothing."""
        about = {"label": self.names[obj_id]} if obj_id in self.names else {}
        return about | ({"color": "#{:02x}{:02x}{:02x}".format(*self.colors[obj_id])} if obj_id in self.colors else {})
