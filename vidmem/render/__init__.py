"""Results as pictures: colours, boxes, looks and effects. It knows arrays, and nothing of how they came about."""

from vidmem.render.boxes import mask_boxes
from vidmem.render.colors import PALETTE, color, parse_color
from vidmem.render.effects import EFFECTS
from vidmem.render.look import Look
from vidmem.render.overlay import overlay

__all__ = ["EFFECTS", "PALETTE", "Look", "color", "mask_boxes", "overlay", "parse_color"]
