"""Tables of docs/engines.md, for `readme_figures.py`."""

from __future__ import annotations

import json
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[1] / "assets/figures"


def load(name: str) -> dict | None:
    path = FIGURES / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def stages() -> str:
    """The whole job by its parts."""
    figure = load("stages")
    engines = [(name, count) for name in figure["engines"] for count in ("1", "5")]
    columns = [figure["engines"][name][count] for name, count in engines]
    heads = [f"{name}, {count} object{'s' * (count != '1')}" for name, count in engines]
    lines = ["| ms of one core a frame | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for part in columns[-1]:
        lines.append(f"| {part} | " + " | ".join(f"{column[part]:.1f}" for column in columns) + " |")
    sums = [sum(column.values()) for column in columns]
    lines.append("| **all** | " + " | ".join(f"**{total:.1f}**" for total in sums) + " |")
    before = {count: sum(figure["engines"]["onnx fp32"][count].values()) for count in ("1", "5")}
    ratios = [before[count] / total for (_, count), total in zip(engines, sums)]
    lines.append("| against ONNX Runtime, times | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    machine = figure["machine"]
    lines += [
        "",
        f"`{figure['command']}`: nano, {figure['size']}, {machine['processor']}; load average {figure['load_average']}.",
    ]
    return "\n".join(lines)


def int8() -> str:
    """Encoders in int8."""
    lines = [
        "| encoder | fp32, ms of one core | int8 | times | MB, fp32 and int8 | error of the outputs (rms) |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in (("int8_nano", "`nano`"), ("int8_sam2", "`sam2.1-tiny` at 512, random weights")):
        if figure := load(name):
            ms, mb = figure["ms"], figure["megabytes"]
            errors = ", ".join(f"{100 * error:.1f}" for error in figure["rms_error"])
            lines.append(
                f"| {title} | {ms['fp32']} | {ms['int8']} | {ms['fp32'] / ms['int8']:.2f} | {mb['fp32']}, {mb['int8']} | {errors} % |"
            )
    figure, fp32, bf16 = load("int8_nano"), load("davis_mask"), load("davis_mask_bf16")
    gate, other = figure["gate"], figure["onnxruntime"]
    lines += ["", f"`nano` in int8: J&F {figure['davis_mask']['j_and_f']:.4f} on the ten sequences from masks (fp32 {fp32['mean']['j_and_f']:.4f}, bf16 {bf16['mean']['j_and_f']:.4f}); in the gate a mask IoU of "
              f"{gate['iou']:.3f}, in the worst clip {gate['worst_clip_iou']:.3f}: refused. On ONNX Runtime the encoder takes {other['int8_ms']} ms in int8 and {other['fp32_ms']} in fp32.",
              f"`{figure['command']}`, {figure['machine']['processor']}; load average {figure['load_average']:.0f}."]  # fmt: skip
    return "\n".join(lines)


def start() -> str:
    """What an engine costs before it runs."""
    figure = load("start")
    lines = [
        "| engine | on disk, with all that vidmem needs | loading | first frame | a later one | two frames after a second object came |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in figure["engines"].items():
        seconds = [row[key] for key in ("load", "first_frame", "usual_frame", "frame_with_a_second_object")]
        lines.append(f"| {name} | {row['with_engine_mb']} MB | " + " | ".join(f"{s:.2f} s" for s in seconds) + " |")
    machine = figure["machine"]
    lines += ["", f"`{figure['command']}`: {machine['processor']}, seconds of one core, median; fp32; ONNX Runtime "
              f"{machine['versions']['onnxruntime']}, OpenVINO {machine['versions']['openvino']}; load average {figure['load_average']:.0f}."]  # fmt: skip
    return "\n".join(lines)


def engines() -> str:
    """`nano` on every engine: the network alone."""
    figure, growth, lines = load("engines"), load("growth"), []
    if figure:
        lines += [
            "| engine | objects | network alone | p50, p95, p99, max of a frame | mask IoU | gate |",
            "|---|---|---|---|---|---|",
        ]
        for r in figure["rows"]:
            ms = r["ms"]["network"]
            lines.append(
                f"| {r['runtime']} {r['precision']} | {r['objects']} | **{r['fps']:.1f} fps** ({r['fps_min']:.1f} to {r['fps_max']:.1f}) "
                f"| {ms['p50']:.0f}, {ms['p95']:.0f}, {ms['p99']:.0f}, {ms['max']:.0f} ms | {r['iou']:.4f} | {'passed' if r['passed'] else 'refused'} |"
            )
        machine = figure["machine"]
        lines += ["", f"`{figure['command']}`: nano, {figure['size']}, {machine['processor']}, {machine['cores']} cores, ONNX Runtime "
                  f"{machine['versions'].get('onnxruntime')}, OpenVINO {machine['versions'].get('openvino')}."]  # fmt: skip
    if growth:
        lines += ["", f"A frame after {growth['frames']:,} frames against one after 100, in turn in one process (`{growth['command']}`): "
                  f"{growth['growth_percent']:+.1f} %."]  # fmt: skip
    return "\n".join(lines)


def tensorrt() -> str:
    """What TensorRT for RTX builds: graphs taken of all, for each capability; the size of the engines, the time; what it refuses."""
    figure = load("tensorrt_build")
    if not figure:
        return ""
    known = [r for r in figure["builds"] if r["sm"] in figure["capabilities"]]
    sms = sorted({r["sm"] for r in known})
    lines = ["| model | precision | objects | " + " | ".join(f"SM{sm}" for sm in sms) + " | engines, MB | seconds |",
             "|---|---|---|" + "---|" * (len(sms) + 2)]  # fmt: skip
    for model, precision, objects in dict.fromkeys((r["model"], r["precision"], r["objects"]) for r in known):
        own = [r for r in known if (r["model"], r["precision"], r["objects"]) == (model, precision, objects)]
        cells = []
        for sm in sms:
            rows = [r for r in own if r["sm"] == sm]
            cells.append(f"{sum('bytes' in r for r in rows)} of {len(rows)}")
        sizes = [sum(r.get("bytes", 0) for r in own if r["sm"] == sm) / 1e6 for sm in sms[1:]]
        spent = [sum(r["seconds"] for r in own if r["sm"] == sm) for sm in sms[1:]]
        lines.append(
            f"| {model} | {precision} | {objects} | {' | '.join(cells)} | {max(sizes):.0f} | {min(spent):.0f} to {max(spent):.0f} |"
        )
    newer = [r for r in known if r["sm"] > sms[0]]
    lines += ["", f"`{figure['command']}`: TensorRT for RTX {figure['tensorrt_rtx']}, no GPU, one thread of {figure['machine']['processor']} beside other work. "
              f"{sum('bytes' in r for r in known)} of {len(known)} built, from SM{sms[1]} on {sum('bytes' in r for r in newer)} of {len(newer)}. "
              f"Megabytes and seconds: all graphs for one capability from SM{sms[1]} on; `encode` is counted with 1 object."]  # fmt: skip
    reasons = {"FP32 GEMM is not supported": "a matrix product in float32", "HW-specific datatypes: b16": "bfloat16"}
    for r in known:
        if "refused" in r and not any(text in r["refused"] for text in reasons):
            lines += ["", f"Refused: {r['model']} {r['precision']} `{r['graph']}` for SM{r['sm']}: {r['refused']}"]
    for text, what in reasons.items():
        rows = [r for r in known if text in r.get("refused", "")]
        if rows:
            where = ", ".join(f"SM{sm}" for sm in sorted({r["sm"] for r in rows}))
            lines += ["", f'{len(rows)} builds for {where} were refused because of {what}: "{text}".']
    if unknown := sorted({r["sm"] for r in figure["builds"]} - set(sms)):
        names = ", ".join(f"SM{sm}" for sm in unknown)
        lines += [
            "",
            f"It has no engines for {names} at all (data-centre GPUs, which TensorRT itself serves); those were not counted.",
        ]
    return "\n".join(lines)


def sam2_pytorch() -> str:
    figure = load("sam2_pytorch")
    stages = ("encode", "attend", "decode", "memorize", "total")
    own, generic = figure["own"]["snapshots_mb"], figure["generic"]["snapshots_mb"]
    return "\n".join(
        [
            "| time against the network of its own | "
            + " | ".join(stages)
            + f" | memories that {figure['kept']} snapshots keep |",
            "|---|" + "---|" * (len(stages) + 1),
            f"| `sam2.1-tiny` at {figure['size']} pixels | "
            + " | ".join(f"{figure['ratio'][s]:.2f}" for s in stages)
            + f" | {generic:.0f} MB, not {own:.0f} |",
        ]
    )
