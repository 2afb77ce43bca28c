"""Render assets/demo.mp4: a reef, a banded fish, its look-alike, a rock to pass behind, and an absence.

The clip is made here, from a seed and nothing else, so that the demo needs no download, carries no licence and has
masks that are exact by construction. It is staged to be hard in the four ways that memory is for: the fish deforms all
the time, a look-alike crosses in front of it, a rock hides part of it, and it leaves the frame and comes back
elsewhere, larger and facing the other way.

Written next to the video: demo_masks.npz ("packed", (T, H * W / 8) uint8 from `numpy.packbits`, and "shape", (T, H, W))
and demo.json (box of the fish on frame 0, number of frames, size, frames of the events).

usage: python scripts/render_demo.py [--out assets] [--png DIR --every 12]
"""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
from demo_fish import ORANGE, VIOLET, mix, noise, paint_fish, paint_pectoral, pose_fish, relief, rgb, smooth

WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 24, 276
SS = 2  # supersampling: everything is painted at twice the size and averaged down
W, H = WIDTH * SS, HEIGHT * SS
PAN = 150 * SS  # how far the camera travels over the clip at the depth of the reef, in painted pixels
WORLD = W + 2 * PAN
SEED = 7


def paint_water():
    """(H, W, 3): light from the upper left, falling into deep blue."""
    x, y = np.meshgrid(np.linspace(0, 1, W, dtype=np.float32), np.linspace(0, 1, H, dtype=np.float32))
    glow = np.exp(-((x - 0.30) ** 2 / 0.22 + (y + 0.15) ** 2 / 0.35))
    return mix(mix(rgb("1c7fa6"), rgb("0a3a5e"), smooth(y, 0, 1)), rgb("bff3ea"), glow * 0.85)


def paint_ridge(rng, base, swing, dark, light, haze, cell, hazy):
    """(H, WORLD, 3) and (H, WORLD): a rocky slope whose crest is about `base` pixels from the top."""
    import cv2

    crest = base + swing * (noise(rng, 2, WORLD, 520, 5, 0.55)[0] - 0.5)
    y = np.arange(H, dtype=np.float32)[:, None]
    overhang = 16 * (noise(rng, H, WORLD, 60, 4) - 0.5)
    alpha = smooth(y - crest + overhang, -1.2, 1.2)
    rough = noise(rng, H, WORLD, cell, 7, 0.58)
    colour = mix(dark, light, rough) * relief(rough, 26)[..., None]
    patch = noise(rng, H, WORLD, cell * 1.5, 4)
    for low, tone in ((0.66, rgb("8a4f6d")), (0.80, rgb("c47a4a"))):
        colour = mix(colour, colour * 0.35 + tone * 0.75, 0.7 * smooth(patch, low, low + 0.1))
    colour *= (0.55 + 0.6 * np.exp(-np.maximum(y - crest, 0) / 120))[..., None]
    colour = mix(colour, rgb(haze), np.full((H, WORLD), hazy))
    return np.clip(cv2.GaussianBlur(colour.astype(np.float32), (0, 0), 0.6 + 3 * hazy), 0, 1), alpha.astype(np.float32)


def plant_corals(rng, image, alpha):
    """Put brain corals, tube sponges and sea fans on the reef, in place."""
    import cv2

    mazes = np.abs(noise(rng, H, WORLD, 26, 2) - 0.5) * 2
    tones = [rgb(code) for code in ("d8896a", "b9a04e", "9a5f9e", "cf6a7c", "6aa37a", "d9b070")]
    for i in range(20):
        x, radius = WORLD * (i + rng.uniform(0.1, 0.9)) / 20, rng.uniform(28, 72)
        y, tone = rng.uniform(600, 715), tones[rng.integers(len(tones))]
        kind = i % 3
        left, right, top_row = max(int(x) - 240, 0), min(int(x) + 240, WORLD), 340  # no coral reaches further
        part = np.s_[top_row:, left:right]
        yy, xx = np.mgrid[top_row:H, left:right].astype(np.float32)
        maze = mazes[part]
        if kind == 0:
            d = np.hypot((xx - x) / radius, (yy - y) / (radius * 0.72))
            shape = 1 - smooth(d, 0.98, 1.02)
            light = 0.35 + 0.75 * np.sqrt(np.clip(1 - d * d, 0, 1)) + 0.35 * np.clip(-(yy - y) / radius - 0.1, -0.5, 1)
            colour = tone * (light * (0.62 + 0.45 * smooth(maze, 0.12, 0.4)))[..., None]
        elif kind == 1:
            shape, colour = np.zeros_like(xx), np.zeros((*xx.shape, 3), np.float32)
            for k in range(4):
                cx, top, half = x + (k - 1.5) * 34, y - rng.uniform(60, 150), rng.uniform(13, 19)
                lean = cx + (k - 1.5) * 0.12 * (y - yy) + 3 * np.sin(yy / 15 + k)
                d = (xx - lean) / half
                tube = (1 - smooth(np.abs(d), 0.94, 1.04)) * smooth(yy - top + 4 * d * d, -1, 1) * (yy < y + 110)
                hole = np.hypot(d / 0.78, (yy - top - 5) / 7)
                light = (0.45 + 0.65 * np.sqrt(np.clip(1 - d * d, 0, 1)) - 0.2 * d) * (0.75 + 0.3 * maze)
                light *= 1 - 0.75 * (1 - smooth(hole, 0.85, 1.05))
                colour = mix(colour, tone * light[..., None], tube)
                shape = np.maximum(shape, tube)
        else:
            layer = np.zeros((H, WORLD), np.uint8)
            stack = [(x, y, -np.pi / 2, radius * 0.62, 8)]
            while stack:
                bx, by, angle, length, thick = stack.pop()
                ex, ey = bx + length * np.cos(angle), by + length * np.sin(angle)
                line = [tuple(round(c * 16) for c in point) for point in ((bx, by), (ex, ey))]
                cv2.line(layer, *line, 255, max(int(thick), 1), cv2.LINE_AA, 4)
                if length > 7:
                    for turn in (-0.42, 0.05, 0.45):
                        fork = angle + turn + rng.normal(0, 0.10)
                        stack.append((ex, ey, fork, length * rng.uniform(0.66, 0.78), thick * 0.66))
            shape = layer[part].astype(np.float32) / 255
            colour = tone * (0.55 + 0.5 * smooth(y - yy, 0, radius * 2.2))[..., None]
        image[part] = mix(image[part], colour, shape)
        alpha[part] = np.maximum(alpha[part], shape)
    np.clip(image, 0, 1, out=image)


def paint_pillar(rng):
    """(H, WORLD, 3) and (H, WORLD): the rock in front, in its own, faster parallax layer."""
    y, x = np.mgrid[0:H, 0:WORLD].astype(np.float32)
    rough = noise(rng, H, WORLD, 110, 7, 0.6)
    centre = PILLAR_X + 16 * np.sin(y / 130) + 5 * np.sin(y / 37)
    half = 62 + 22 * smooth(y, 380, H) * (y / H) ** 2 + 16 * smooth(y, 200, 0) + 26 * (rough - 0.5)
    d = (x - centre) / half
    light = (0.30 + 0.70 * np.sqrt(np.clip(1 - d * d, 0, 1)) - 0.30 * d) * relief(rough, 30)
    colour = mix(rgb("3b3440"), rgb("a08a78"), rough)
    patch = noise(rng, H, WORLD, 90, 4)
    for low, tone in ((0.56, "7d4a66"), (0.72, "b06a4c"), (0.9, "c99a5e")):
        colour = mix(colour, rgb(tone) * (0.6 + 0.5 * rough[..., None]), 0.7 * smooth(patch, low, low + 0.08))
    return np.clip(colour * light[..., None], 0, 1), (1 - smooth(np.abs(d), 0.985, 1.015)).astype(np.float32)


def draw_kelp(canvas, rng, count, t, shift, lo, hi, haze):
    """Draw swaying blades on the canvas, in place, at time t in seconds; the same `rng` state gives the same plants."""
    import cv2

    s = np.linspace(0, 1, 26)
    for _ in range(count):
        x, length, wide, phase = rng.uniform(lo, hi), rng.uniform(230, 520), rng.uniform(9, 17), rng.uniform(0, 6)
        tone = mix(mix(rgb("2f5a35"), rgb("9aa548"), rng.random()), rgb("1b6488"), haze)
        cx = x - 0.8 * shift + (10 + 46 * s) * s * np.sin(0.9 * t + phase - 2.6 * s) + 9 * np.sin(9 * s + phase)
        cy = H + 20 - length * s
        half = wide * np.sin(np.pi * (0.12 + 0.88 * s)) * (1 + 0.18 * np.sin(40 * s + phase))
        for side, light in ((-1, 1.0), (1, 0.75)):
            outline = np.concatenate([np.stack([cx, cy], 1), np.stack([cx + side * half, cy], 1)[::-1]])
            colour = tuple(float(c) for c in tone * light)
            cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], colour, cv2.LINE_8, 4)


PILLAR_X = 1010  # where the rock stands, in painted pixels of its own layer


def track(t, knots):
    """Values at time t along knots [(t, value, ...)]: cubic (Catmull-Rom), so that speeds are continuous."""
    times = np.array([k[0] for k in knots], float)
    values = np.array([k[1:] for k in knots], float)
    i = int(np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2))
    slope = np.gradient(values, times, axis=0)
    step = times[i + 1] - times[i]
    a = np.clip((t - times[i]) / step, 0, 1)
    h00, h10, h01, h11 = 2 * a**3 - 3 * a**2 + 1, a**3 - 2 * a**2 + a, -2 * a**3 + 3 * a**2, a**3 - a**2
    return h00 * values[i] + h10 * step * slope[i] + h01 * values[i + 1] + h11 * step * slope[i + 1]


# t in seconds; x, y in the finished frame's pixels; scale in finished pixels per body unit; tilt in degrees;
# foreshortening along the body
OUT_AND_AWAY = [
    (0.0, 128, 205, 74, -6, 1.0), (1.5, 215, 160, 80, -8, 0.96), (3.0, 290, 190, 84, 9, 1.0),
    (4.4, 400, 205, 78, 3, 0.93), (5.4, 520, 160, 70, -14, 1.0), (6.5, 735, 110, 62, -10, 1.0),
]  # fmt: skip
BACK_AGAIN = [
    (8.1, 800, 235, 112, 4, 1.0), (9.2, 590, 228, 110, 6, 1.0), (10.3, 420, 205, 104, 10, 0.95),
    (11.5, 265, 190, 98, 2, 1.0),
]  # fmt: skip
RIVAL_LEFT = [
    (0.9, 790, 120, 66, 6, 1.0), (2.2, 470, 140, 70, -5, 1.0), (3.4, 250, 225, 74, -12, 0.95),
    (5.2, -130, 250, 76, 0, 1.0),
]  # fmt: skip
RIVAL_RIGHT = [(6.3, -120, 120, 58, 2, 1.0), (8.6, 240, 105, 58, -4, 1.0), (11.6, 600, 130, 56, 4, 1.0)]


def pose_at(t, knots, facing, rate, phase):
    """Arguments of `pose_fish` at time t, or None before the first and after the last knot."""
    if not knots[0][0] <= t <= knots[-1][0]:
        return None
    x, y, scale, tilt, stretch = track(t, knots)
    bob = 3 * np.sin(1.7 * t + phase)
    beat = rate * t + 0.8 * np.sin(0.9 * t) + phase
    return x * SS, (y + bob) * SS, scale * SS, np.deg2rad(tilt), facing, beat, stretch


def blend(canvas, image, alpha):
    """Lay an image over the canvas, in place."""
    image -= canvas
    image *= alpha[..., None]
    canvas += image


def bounded(speed, image, alpha):
    """A parallax layer: its speed relative to the camera, picture, coverage and the box [x0, y0, x1, y1] it fills."""
    return speed, image, alpha, box_of(alpha > 0)


class Reef:
    """Everything that is painted once; `frame(i)` composes one frame from it."""

    def __init__(self, seed=SEED):
        rng = np.random.default_rng(seed)
        self.water = paint_water()
        far, near = (rgb("12405c"), rgb("2f7d92")), (rgb("2b2a35"), rgb("a3917a"))
        self.far = [
            bounded(0.25, *paint_ridge(rng, 350, 320, *far, "2a86a6", 130, 0.62)),
            bounded(0.50, *paint_ridge(rng, 470, 260, *far, "1b6488", 120, 0.34)),
        ]
        reef, alpha = paint_ridge(rng, 590, 150, *near, "14506e", 90, 0.06)
        plant_corals(rng, reef, alpha)
        self.reef, self.pillar = bounded(1.0, reef, alpha), bounded(1.25, *paint_pillar(rng))
        self.fish = {"body": paint_fish(rng, ORANGE, 0.0), "pectoral": paint_pectoral(ORANGE)}
        self.rival = {"body": paint_fish(rng, VIOLET, -0.13), "pectoral": paint_pectoral(VIOLET)}
        self.ripples = [np.abs(noise(rng, 540, 960, cell, 2, 0.35) - 0.5) for cell in (52, 64)]
        self.rays = noise(rng, 2, 720, 24, 3)[0]
        self.bubbles = rng.random((26, 4))
        self.kelp_seed = int(rng.integers(1 << 30))

    def over(self, canvas, layer, shift, light=None):
        """Lay a parallax layer over the canvas, in place; return its coverage of the frame, (H, W)."""
        import cv2

        speed, image, alpha, (left, top, right, bottom) = layer
        x0, x1 = max(int(left - shift * speed) - 1, 0), min(int(right - shift * speed) + 1, W)
        place, size = np.float32([[1, 0, -shift * speed - x0], [0, 1, -top]]), (x1 - x0, bottom - top)
        image = cv2.warpAffine(image, place, size, flags=cv2.INTER_LINEAR)
        alpha = cv2.warpAffine(alpha, place, size, flags=cv2.INTER_LINEAR)
        if light is not None:
            image *= light[top:bottom, x0:x1, None]
        blend(canvas[top:bottom, x0:x1], image, alpha)
        cover = np.zeros((H, W), np.float32)
        cover[top:bottom, x0:x1] = alpha
        return cover

    def caustics(self, t, shift):
        """(H, W): the net of light that waves throw on what lies below; 0.75 to 1.6, strongest where it is shallow."""
        import cv2

        nets = []
        for net, (vx, vy) in zip(self.ripples, ((14, 6), (-11, 9))):
            place = np.float32([[1, 0, -120 - vx * t - shift / 4], [0, 1, -60 - vy * t]])
            nets.append(cv2.warpAffine(net, place, (W // 4 + 2, H // 4 + 2), borderMode=cv2.BORDER_REFLECT))
        bright = np.exp(-9 * np.maximum(nets[0], nets[1]) - 4 * np.minimum(nets[0], nets[1]))
        return 0.82 + 0.75 * cv2.resize(cv2.GaussianBlur(bright, (0, 0), 0.8), (W, H), interpolation=cv2.INTER_CUBIC)

    def sunbeams(self, t):
        """(H, W, 3): shafts of light from above the upper left, slowly turning, 0 to 0.3."""
        import cv2

        y, x = np.mgrid[0 : H // 4, 0 : W // 4].astype(np.float32) * 4
        angle = np.arctan2(x - 0.25 * W, y + 420)
        first, second = (np.interp(angle * 260 + 360 + v * t, np.arange(720), self.rays) for v in (4.0, -3.0))
        beams = (0.55 * first * second * np.exp(-y / 520)).astype(np.float32)
        return cv2.resize(beams[..., None] * rgb("c8f4ee"), (W, H), interpolation=cv2.INTER_LINEAR)

    def frame(self, index):
        """(HEIGHT, WIDTH, 3) uint8 RGB, (HEIGHT, WIDTH) bool, the fish's visible pixels, and the shares of it, 0..1,
        that the look-alike and the rock hide."""
        import cv2

        t = index / FPS
        shift = PAN * smooth(t, -2, FRAMES / FPS + 2) * 1.15
        canvas, light = self.water.copy(), self.caustics(t, shift)
        for layer in self.far:
            self.over(canvas, layer, shift)
        canvas += self.sunbeams(t)
        for seed, count, lo, hi, haze in ((1, 9, 60, 420, 0.5), (2, 8, 1120, 1560, 0.35)):
            draw_kelp(canvas, np.random.default_rng(self.kelp_seed + seed), count, t, shift, lo, hi, haze)
        self.over(canvas, self.reef, shift, light)
        for x, y, speed, size in self.bubbles:
            px = (x * W + 10 * np.sin(3 * t + 9 * y)) * 16
            py = (H - (y * H + (50 + 60 * speed) * t) % H) * 16
            cv2.circle(canvas, (int(px), int(py)), int((1.5 + 4 * size) * 16), (0.75, 0.93, 0.95), 1, cv2.LINE_AA, 4)

        whole, seen = np.zeros((2, H, W), np.float32)
        target = pose_at(t, OUT_AND_AWAY, 1, 7.4, 0.4) or pose_at(t, BACK_AGAIN, -1, 6.6, 1.9)
        away = pose_at(t, RIVAL_RIGHT, 1, 8.6, 2.2)
        for fish, pose, haze in (
            (self.rival, away, 0.20), (self.fish, target, 0.05), (self.rival, pose_at(t, RIVAL_LEFT, -1, 8.1, 0), 0.05)
        ):  # fmt: skip
            placed = pose and pose_fish(fish, pose, W, H)
            if not placed:
                continue
            (x0, y0, x1, y1), colour, alpha = placed
            self.shade(canvas, placed, pose[2])
            colour *= (0.72 + 0.34 * light[y0:y1, x0:x1])[..., None]
            blend(canvas[y0:y1, x0:x1], mix(colour, rgb("1f7291"), haze), alpha)
            if fish is self.fish:
                whole[y0:y1, x0:x1] = seen[y0:y1, x0:x1] = alpha
            else:
                seen[y0:y1, x0:x1] *= 1 - alpha
        area, beside = whole.sum(), seen.sum()
        seen *= 1 - self.over(canvas, self.pillar, shift, 0.55 + 0.45 * light)
        small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        x, y = np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT)[:, None]
        small *= (1 - 0.12 * (x * x + y * y))[..., None]
        mask = cv2.resize(seen, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) >= 0.5
        hidden = (1 - beside / area, (beside - seen.sum()) / area) if area else (0.0, 0.0)
        return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8), mask, hidden

    def shade(self, canvas, placed, scale):
        """A soft shadow on what is behind and below a fish."""
        import cv2

        (x0, y0, x1, y1), _, alpha = placed
        small = cv2.warpAffine(alpha, np.float32([[0.25, 0, x0 / 4 + 0.06 * scale], [0, 0.25, y0 / 4 + 0.13 * scale]]),
                               (W // 4, H // 4), flags=cv2.INTER_AREA)  # fmt: skip
        dark = cv2.resize(cv2.GaussianBlur(small, (0, 0), 0.022 * scale + 2), (W, H), interpolation=cv2.INTER_LINEAR)
        pad = int(0.3 * scale) + 40
        part = np.s_[max(y0 - pad, 0) : y1 + pad, max(x0 - pad, 0) : x1 + pad]
        canvas[part] *= 1 - 0.34 * dark[part][..., None]


def box_of(mask):
    """[x0, y0, x1, y1] around a mask, x1 and y1 exclusive."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1]


def spans(flags):
    """[[first, last], ...] of the runs of true frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return [[int(first), int(stop) - 1] for first, stop in edges.reshape(-1, 2)]


def write_video(path, images):
    """Write RGB frames as H.264; one thread, so that the bytes do not depend on the machine's cores."""
    import av

    options = {"crf": "22", "preset": "medium", "threads": "1", "movflags": "+faststart"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "assets")
    parser.add_argument("--png", type=Path, help="only look: write every n-th frame to this folder")
    parser.add_argument("--every", type=int, default=25)
    args = parser.parse_args(argv)
    reef = Reef()
    if args.png:
        from PIL import Image

        args.png.mkdir(parents=True, exist_ok=True)
        for index in range(0, FRAMES, args.every):
            Image.fromarray(reef.frame(index)[0]).save(args.png / f"{index:04d}.png")
        return
    masks, hidden = [], []

    def images():
        for index in range(FRAMES):
            image, mask, shares = reef.frame(index)
            masks.append(mask)
            hidden.append(shares)
            yield image

    args.out.mkdir(parents=True, exist_ok=True)
    write_video(args.out / "demo.mp4", images())
    packed = np.packbits(np.stack(masks).reshape(FRAMES, -1), axis=1)
    np.savez_compressed(args.out / "demo_masks.npz", packed=packed, shape=np.array([FRAMES, HEIGHT, WIDTH]))
    gone = spans([not mask.any() for mask in masks])
    about = {
        "box": box_of(masks[0]),
        "frames": FRAMES,
        "fps": FPS,
        "size": [HEIGHT, WIDTH],
        "events": {  # [first, last] frame of each
            "look_alike": spans([by_rival > 0.03 for by_rival, _ in hidden]),
            "occlusion": spans([by_rock > 0.03 for _, by_rock in hidden]),
            "disappearance": gone,
            "return": [last + 1 for _, last in gone if last + 1 < FRAMES],
        },
    }
    (args.out / "demo.json").write_text(json.dumps(about, indent=1) + "\n")
    print(json.dumps(about))


if __name__ == "__main__":
    main()
