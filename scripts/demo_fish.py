"""The fish of the demo clip: painted once at rest, then bent, turned and scaled frame by frame. See render_demo.py."""

from __future__ import annotations

import numpy as np

UNIT = 260  # pixels of the texture per body unit; a fish spans about 2.3 units
U0, U1, V1 = -1.45, 1.15, 0.85  # the texture covers u in [U0, U1] (tail to nose) and v in [-V1, V1] (up is negative)
ORANGE = {"back": "b8321a", "flank": "f47a1f", "belly": "ffd27a", "band": "fff4e0", "fin": "ffa53a", "edge": "33161a"}
VIOLET = {"back": "3a2a86", "flank": "7a4fd0", "belly": "d9b8f2", "band": "e9f6ff", "fin": "a77bea", "edge": "1c1440"}


def smooth(x, low, high):
    """Smoothstep of x from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a, b, t):
    """a where t is 0, b where t is 1; t (...,) against colours (..., 3)."""
    t = np.asarray(t)[..., None]
    return np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t


def rgb(code):
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


def noise(rng, height, width, cell, octaves=5, gain=0.5):
    """(height, width) float32 fractal value noise, 0..1; `cell` is the size of its largest blobs in pixels."""
    import cv2

    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.5)
        grid = rng.random((int(height / size) + 3, int(width / size) + 3)).astype(np.float32)
        total += gain**octave * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(total, [1, 99])
    return np.clip((total - low) / (high - low), 0, 1)


def relief(height_map, strength):
    """Light on a height field from the upper left, about 0.4 to 1.5."""
    dy, dx = np.gradient(height_map)
    return np.clip(1 + strength * (dx * 0.6 + dy * 1.0), 0.45, 1.6).astype(np.float32)


def paint_fish(rng, skin, phase):
    """(h, w, 3) colour and (h, w) coverage of a fish at rest, nose to the right.

    `skin` names the colours of back, flank, belly, band and fin; `phase` moves the bands along the body, in body units.
    """
    import cv2

    width, height = int((U1 - U0) * UNIT), int(2 * V1 * UNIT)
    u, v = np.meshgrid(np.linspace(U0, U1, width, dtype=np.float32), np.linspace(-V1, V1, height, dtype=np.float32))
    back, flank, belly, band, fin = (rgb(skin[name]) for name in ("back", "flank", "belly", "band", "fin"))

    fine = np.linspace(U0, U1, 1024)
    knots = [-1.0, -0.8, -0.62, -0.4, -0.1, 0.2, 0.5, 0.74, 0.9, 0.97, 1.0]
    half = np.interp(fine, knots, [0.09, 0.10, 0.15, 0.27, 0.40, 0.435, 0.37, 0.25, 0.125, 0.06, 0.0])
    half[20:-20] = np.convolve(half, np.ones(41) / 41, "valid")
    profile = np.interp(u, fine, half).astype(np.float32)
    r = v / np.maximum(profile * np.where(v > 0, 0.93, 1.0), 1e-3)
    body = (np.abs(r) < 1) & (u > -0.95) & (u < 0.995)

    def fin_colour(ray, reach):
        """Fin rays along `ray` (any unit), fading from body colour to the fin's edge over `reach` 0..1."""
        ribs = 0.86 + 0.14 * np.sin(ray)
        colour = mix(flank * 0.8, fin, smooth(reach, 0.0, 0.55)) * ribs[..., None]
        return mix(colour, rgb(skin["edge"]), smooth(reach, 0.8, 0.9))

    image = np.zeros((height, width, 3), np.float32)
    cover = np.zeros((height, width), bool)

    def lay(shape, colour):
        image[shape] = colour[shape]
        cover[:] |= shape

    reach = (-0.72 - u) / (0.56 - 0.19 * (1 - (v / 0.47) ** 2))
    spread = 0.10 + 0.40 * smooth(-u, 0.72, 1.32)
    angle = np.arctan2(v, -(u + 0.45))
    lay((reach > 0) & (reach < 1) & (np.abs(v) < spread), fin_colour(angle * 70, reach))
    for side, start, stop, size in ((-1, -0.66, 0.52, 0.30), (1, -0.64, -0.02, 0.27)):
        along = np.clip((u - start) / (stop - start), 0, 1)
        tip = size * np.clip(np.sin(np.pi * along**1.25), 0, 1) ** 0.65 * (0.94 + 0.06 * np.cos(along * 60))
        above = side * v - profile * 0.85
        reach = above / np.maximum(tip + profile * 0.15, 1e-3)
        lay((above > 0) & (reach < 1) & (tip > 0.01), fin_colour((u + 0.55 * above) * 95, reach))
    pelvic = np.hypot((u - 0.22 + 0.5 * (v - 0.4)) / 0.11, (v - 0.46) / 0.19)
    lay((pelvic < 1) & (v > 0.3), fin_colour((u + 0.5 * v) * 95, (v - 0.3) / 0.36))

    warp = noise(rng, height, width, 120, 4) - 0.5
    colour = mix(back, flank, smooth(r, -0.85, -0.1))
    colour = mix(colour, belly, smooth(r, 0.2, 0.95))
    for centre, thick in ((0.50, 0.085), (-0.02, 0.105), (-0.58, 0.065)):
        distance = np.abs(u - centre - phase - 0.10 * warp + 0.10 * (1 - r**2)) - thick
        colour = mix(colour, rgb("1a1420"), 1 - smooth(distance, 0.012, 0.045))
        colour = mix(colour, band, 1 - smooth(distance, -0.012, 0.010))
    spots = noise(rng, height, width, 34, 2)
    colour = mix(colour, rgb("2a1218"), 0.75 * smooth(spots, 0.76, 0.84) * smooth(-r, 0.05, 0.35) * (u < 0.5))
    # Scales: a staggered lattice of arcs, each lit at its free edge.
    column = np.floor(u / 0.047)
    row_v = v / 0.052 + 0.5 * (column % 2)
    arc = np.hypot(u / 0.047 - column, 1.1 * (row_v - np.floor(row_v) - 0.5))
    colour *= (1 - 0.20 * smooth(arc, 0.6, 1.0) * smooth(-u, -0.52, -0.40) + 0.05 * (arc < 0.4))[..., None]
    gill = np.abs(np.hypot((u - 0.60) / 1.0, v / 1.15) - 0.20)
    colour *= (1 - 0.35 * (1 - smooth(gill, 0.0, 0.02)) * (u < 0.55))[..., None]
    round_ = np.sqrt(np.clip(1 - r * r, 0, 1))
    light = 0.42 + 0.50 * round_ + 0.22 * np.clip(-r, -1, 1)
    colour *= light[..., None]
    colour += (0.38 * np.exp(-(((r + 0.52) / 0.16) ** 2)) * smooth(u, -0.8, 0.0) * smooth(-u, -0.95, -0.6))[..., None]
    mouth = np.abs(v - 0.035 - 0.25 * (0.97 - u)) + 9 * np.maximum(0.86 - u, 0)
    colour *= (1 - 0.7 * (1 - smooth(mouth, 0.006, 0.02)))[..., None]
    eye = np.hypot(u - 0.735, v + 0.055)
    for radius, tone in ((0.082, "20161c"), (0.070, "f3d27a"), (0.047, "0a0a10")):
        colour = mix(colour, rgb(tone), 1 - smooth(eye, radius - 0.008, radius + 0.004))
    colour += (1 - smooth(np.hypot(u - 0.752, v + 0.078), 0.008, 0.019))[..., None]
    lay(body, colour)
    # The pattern bleeds past the edge, so that interpolation there does not mix in black.
    soft = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 6)[..., None]
    bled = cv2.GaussianBlur(image * cover[..., None], (0, 0), 6) / np.maximum(soft, 1e-3)
    image = np.where(cover[..., None], image, bled)
    return np.clip(image, 0, 1).astype(np.float32), cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 0.8)


def paint_pectoral(skin):
    """(h, w, 3) colour and (h, w) coverage of the side fin, its root at the left edge."""
    x, y = np.meshgrid(np.linspace(0, 1, 96, dtype=np.float32), np.linspace(-1, 1, 96, dtype=np.float32))
    edge = 0.25 + 0.6 * np.clip(np.sin(np.pi * x**0.8), 0, 1) ** 0.8
    cover = smooth(edge - np.abs(y), 0, 0.06) * smooth(1 - x, 0.02, 0.08)
    ribs = 0.84 + 0.16 * np.sin(np.arctan2(y, x + 0.35) * 34)
    colour = mix(rgb(skin["flank"]) * 1.05, rgb(skin["fin"]), smooth(x, 0, 0.7)) * ribs[..., None]
    return mix(colour, rgb(skin["edge"]), smooth(x, 0.86, 0.93)), cover.astype(np.float32)


def pose_fish(fish, pose, width, height):
    """A fish on a frame of width x height: its box (x0, y0, x1, y1), (h, w, 3) colour and (h, w) coverage in that box.

    None when the box lies outside of the frame. `pose` is x, y in pixels, scale in pixels per body unit, tilt in
    radians, facing (1 right, -1 left),
    beat (phase of the swimming wave in radians) and stretch (foreshortening along the body).

    The inverse map: pixel -> body coordinates (shift, turn, scale, flip) -> rest coordinates (swimming wave undone).
    """
    import cv2

    x, y, scale, tilt, facing, beat, stretch = pose
    reach = 1.5 * scale
    x0, x1 = int(max(x - reach, 0)), int(min(x + reach, width))
    y0, y1 = int(max(y - reach, 0)), int(min(y + reach, height))
    if x1 <= x0 or y1 <= y0:
        return None
    px, py = np.meshgrid(np.arange(x0, x1, dtype=np.float32) - x, np.arange(y0, y1, dtype=np.float32) - y)
    cos, sin = np.cos(tilt), np.sin(tilt)
    u = (cos * px + sin * py) * facing / (scale * stretch)
    v = (-sin * px + cos * py) / scale

    def rest(u, v):
        tail = np.clip(0.75 - u, 0, None) / 2
        swing = 0.15 * tail**1.6 * np.sin(2.6 * u + beat) + 0.012 * np.sin(beat)
        squeeze = 1 + 0.20 * smooth(-u, 0.5, 1.2) * (0.5 + 0.5 * np.sin(beat + 0.9))  # the tail turns out of the plane
        return u * squeeze, v - swing

    ru, rv = rest(u, v)
    image, cover = fish["body"]
    map_x, map_y = ((ru - U0) * UNIT).astype(np.float32), ((rv + V1) * UNIT).astype(np.float32)
    colour = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.remap(cover, map_x, map_y, cv2.INTER_LINEAR)
    flap = 2.55 + 0.5 * np.sin(beat * 0.8)
    du, dv = ru - 0.36, rv - 0.12
    length = 0.40 * (0.85 + 0.15 * np.cos(beat * 0.8))
    fx, fy = (np.cos(flap) * du + np.sin(flap) * dv) / length, (-np.sin(flap) * du + np.cos(flap) * dv) / (length * 0.5)
    fin_image, fin_cover = fish["pectoral"]
    map_x, map_y = (fx * 95).astype(np.float32), ((fy + 1) * 47.5).astype(np.float32)
    fin = cv2.remap(fin_cover, map_x, map_y, cv2.INTER_LINEAR) * alpha
    colour *= (1 - 0.30 * cv2.GaussianBlur(fin, (0, 0), 5))[..., None]
    fin_colour = cv2.remap(fin_image, map_x, map_y, cv2.INTER_LINEAR)
    colour = colour * (1 - fin[..., None]) + fin_colour * fin[..., None]
    return (x0, y0, x1, y1), colour, alpha
