"""Results in a notebook."""

from __future__ import annotations

import base64
import html as escape
import io

import numpy as np

from vidmem.errors import FrameError
from vidmem.render.look import Look
from vidmem.render.overlay import overlay

PREVIEW = 320  # pixels of the longer side


def plot(result, image: np.ndarray, look: dict):
    """-> `PIL.Image`. look: arguments of `Look`. Raises `FrameError` for what is no frame of the result's size."""
    from PIL import Image

    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if shape != (*result.size, 3) or kind != np.uint8:
        raise FrameError(f"the picture is {kind} {shape or ''}; expected uint8 {(*result.size, 3)}, the result's size")
    return Image.fromarray(overlay(image, result, Look(**look)))


def html(result) -> str:
    """A small picture of the masks and a line for each object, without any link outside."""
    picture = plot(result, np.zeros((*result.size, 3), np.uint8), {"opacity": 0.8})
    picture.thumbnail((PREVIEW, PREVIEW))
    data = io.BytesIO()
    picture.save(data, "PNG")
    rows = "".join(
        f"<tr><td>{obj_id}</td><td>{escape.escape(status.value)}</td><td>{100 * score:.0f}%</td>"
        f"<td>{', '.join(f'{side:g}' for side in box)}</td></tr>"
        for obj_id, status, score, box in zip(result.obj_ids, result.status, result.scores, result.boxes)
    )
    return (
        f'<img src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"><table>'
        f"<caption>frame {result.frame_idx}</caption><tr><th>object</th><th>status</th><th>score</th><th>box</th></tr>{rows}</table>"
    )
