#!/usr/bin/env python3
"""Write the tables of the README, the docs and the model card from the committed JSON in assets/figures.

python scripts/readme_figures.py            # --check: fail when a page differs from the JSON
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import figures_engines

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "assets/figures"
BEGIN, END = "<!-- {}: made by scripts/readme_figures.py -->", "<!-- end of {} -->"


def load(name: str) -> dict | None:
    path = FIGURES / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def score_row(title: str, name: str, floor: str, aim: str, command: str) -> list[str]:
    figure = load(name)
    return (
        [] if figure is None else [f"| {title} | **{figure['mean']['j_and_f']:.3f}** | {floor} | {aim} | `{command}` |"]
    )


def table() -> str:
    rows = ["| what | measured | floor | aim | command |", "|---|---|---|---|---|"]
    rows += score_row(
        "J&F, ten DAVIS sequences, first-frame mask",
        "davis_mask",
        "0.80",
        "0.86",
        "vidmem eval DATA/davis --prompt mask",
    )
    rows += score_row("the same from a box", "davis_box", "0.77", "0.83", "vidmem eval DATA/davis --prompt box")
    rows += score_row("the same from one click", "davis_click", "0.70", "0.78", "vidmem eval DATA/davis --prompt click")
    rows += score_row(
        "J&F, `other/dogs-jump`, three objects, masks", "dogs_jump", "0.62", "0.78", "vidmem eval DATA/other/dogs-jump"
    )
    if stories := load("stories"):
        (row,) = stories["pairs"]
        for title, key, floor, aim in (("J&F, long videos, default bank", "j_and_f", "0.55", "0.70"), ("the same: silent while the object is absent", "absent", "0.85", "0.95"),
                                       ("the same: J in the 60 frames after a return", "returned", "0.40", "0.60")):  # fmt: skip
            rows.append(f"| {title} | **{row[key]:.3f}** | {floor} | {aim} | `{stories['command']}` |")
    if job := load("job"):
        for count, floor, aim in ((1, "20 fps", "40"), (5, "8 fps", "20")):
            row = job[f"objects_{count}"]
            text = f"**{row['fps_median']:.1f} fps** ({row['fps_min']:.1f} to {row['fps_max']:.1f}), step p95 {row['step_ms_p95']:.0f} ms"
            if ratio := job.get("against_previous_model"):
                text += f"; **{ratio[f'objects_{count}']:.2f} times** the previous model's in the same run"
            rows.append(
                f"| whole job, 854x480, {count} object{'s'[: count - 1]} | {text} | {floor} | {aim} | `scripts/bench_job.py` |"
            )
    if s := load("stream"):
        text = f"**{s['growth_percent']:+.1f} %** after frame 500 ({s['frames']:,} frames)"
        if full := load("stream_full"):
            text += f"; {full['max_mb']:.0f} MB in all at the usual input size ({full['frames']:,} frames)"
        rows.append(f"| resident memory on a stream | {text} | under 2 % | flat, under 600 MB | `{s['command']}` |")
    if c := load("clone"):
        rows.append(f"| `import vidmem` | **{c['import_s']:.2f} s** | 0.3 s | 0.15 s | `scripts/bench_clone.py` |")
        text = f"**{c['demo_first_s']:.0f} s; {c['demo_again_s']:.0f} s**"
        rows.append(
            f"| `make demo` from a fresh clone; again | {text} | 3 min; 10 s | 1 min; 5 s | `scripts/bench_clone.py` |"
        )
        if "test_s" in c:
            rows.append(
                f"| `make test` from a fresh clone | **{c['test_s'] / 60:.1f} min** | 12 min | 6 min | `scripts/bench_clone.py` |"
            )
    if b := load("batch"):
        text = f"**{b['ratio']:.2f} times** ({b['fps_one']:.0f} and {b['fps_two']:.0f} fps, one thread a worker)"
        rows.append(
            f"| {b['clips']} clips of {b['frames']} frames, 2 workers against 1 | {text} | 1.7 times | | `{b['command']}` |"
        )
        k = b["killed"]
        text = f"**{k['lost']} lost, {k['twice']} done twice, {k['half_written']} half-written**"
        rows.append(f"| `vidmem batch` killed at {k['kills']} random moments | {text} | 0, 0, 0 | | `{b['command']}` |")
    if a := load("app"):
        text = f"**{a['click_ms']['p50']:.0f} ms** (at most {a['click_ms']['max']:.0f}; on a frame to go back to {a['click_elsewhere_ms']['p50']:.0f}"
        text += (
            f"; {a['network_ms']:.0f} of it the network; load average {a['load_average']:.0f})"
            if "network_ms" in a
            else ")"
        )
        rows.append(f"| the app, {a['size']}: from a click to its mask | {text} | 150 ms | 60 | `{a['command']}` |")
        if "address_s" in a:
            rows.append(f"| `vidmem app` prints its address | **{a['address_s']:.1f} s** | 3 s | | `{a['command']}` |")
    machine = next((f["machine"] for f in map(load, ("job", "davis_mask", "stream")) if f), None)
    if machine:
        rows += [
            "",
            f"Measured on {machine['processor']}, {machine['cores']} cores, ONNX Runtime {machine['versions'].get('onnxruntime')}.",
        ]
    return "\n".join(rows)


def sequences() -> str:
    figures = {kind: load(f"davis_{kind}") for kind in ("mask", "box", "click")}
    if not all(figures.values()):
        return ""
    rows = ["| sequence | mask | box | click |", "|---|---|---|---|"]
    for parts in zip(*(f["sequences"] for f in figures.values())):
        rows.append(f"| {parts[0]['name']} | " + " | ".join(f"{p['j_and_f']:.3f}" for p in parts) + " |")
    return "\n".join(
        [*rows, "| **mean** | " + " | ".join(f"**{f['mean']['j_and_f']:.3f}**" for f in figures.values()) + " |"]
    )


def sam2() -> str:
    """Ours beside Meta's and transformers': milliseconds a frame, peak resident memory, agreement; and how far the limit is."""
    figure, grown, lines = load("peers"), load("sam2_memory"), []
    if figure:
        lines += [
            "| input | objects | who | ms a frame | sam2 fp32 / it | IoU with sam2's masks | peak MB |",
            "|---|---|---|---|---|---|---|",
        ]
        base = {(r["size"], r["objects"]): r for r in figure["rows"] if r["who"] == "sam2:fp32"}
        for r in sorted(figure["rows"], key=lambda r: (-r["size"], r["objects"], -r["ms"])):
            theirs = base.get((r["size"], r["objects"]))
            ratio = f"**{theirs['ms'] / r['ms']:.2f}**" if theirs and theirs is not r else ""
            iou = f"{r['iou']:.4f}" if r["iou"] is not None and r["against"] == "sam2:fp32" and theirs is not r else ""
            who, precision, *bank = r["who"].split(":")
            name = (
                f"{who} {precision}"
                if who in ("sam2", "transformers")
                else f"vidmem, {who} {precision}{', bank `' + bank[0] + '`' if bank else ''}"
            )
            lines.append(
                f"| {r['size']} px | {r['objects']} | {name} | {r['ms']:.0f} | {ratio} | {iou} | {r['peak_mb']} |"
            )
        machine = figure["machine"]
        lines += ["", f"`{figure['command']}`: {figure['model']}, the demo clip, median of {min(r['frames'] for r in figure['rows'])} to "
                  f"{max(r['frames'] for r in figure['rows'])} frames once the memory is full, each in a process of its own, "
                  f"{figure['threads']} threads, {machine['processor']}, torch {machine['versions'].get('torch')}. IoU is that of masks "
                  "by random weights; a trained network's were not seen."]  # fmt: skip
        large = {(r["size"], r["objects"], r["who"]): r for r in figure["rows"]}
        small = large.get((512, 1, "openvino:bf16"))
        if small and (1024, 1) in base:
            lines += [
                "",
                f"At 512 px OpenVINO in bf16 is {base[1024, 1]['ms'] / small['ms']:.1f} times as fast as sam2 at 1024 px in fp32.",
            ]
        for limit in figure["limits"]:
            row = large.get((limit["size"], 1, "openvino:bf16"))
            if row:
                rate = limit["gflop_per_s"]["bf16"]
                parts = [f"{name} {gflop:.0f} GFLOP, {1000 * gflop / rate:.0f} ms at least, {row['stages'][name]:.0f} measured"
                         for name, gflop in limit["gflop"].items()]  # fmt: skip
                lines += ["", f"The limit at {limit['size']} px, one object, from matrix products at {limit['gflop_per_s']['fp32']} (fp32) and {rate} "
                          f"GFLOP/s (bf16), memory at {limit['gb_per_s']:.0f} GB/s: {'; '.join(parts)}."]  # fmt: skip
    if grown:
        text = []
        for which, curve in grown["resident_mb"].items():
            first, last = next(iter(curve.items())), list(curve.items())[-1]
            text.append(
                f"{which} {first[1]:.0f} MB after {int(first[0]):,} frames and {last[1]:.0f} MB after {int(last[0]):,}"
            )
        lines += ["", f"Resident memory at {grown['size']} px, one object (`{grown['command']}`): {'; '.join(text)}."]
    return "\n".join(lines)


def scores() -> str:
    """How far the predicted IoU can be trusted, and what each limit would mark."""
    figure = load("scores")
    if not figure:
        return ""
    lines = ["| marked under | frames marked | of these wrong | of the wrong ones marked |", "|---|---|---|---|"]
    for r in figure["limits"]:
        wrong = "-" if r["of_these_wrong"] is None else f"{100 * r['of_these_wrong']:.0f} %"
        lines.append(f"| {r['under']:.2f} | {r['frames']} | {wrong} | {100 * r['of_wrong_found']:.0f} % |")
    top = [b for b in figure["bins"] if b["frames"] >= 30]
    said = ", ".join(f"{b['said']:.2f} where {b['true']:.2f} is true" for b in top)
    raw = figure["network"]
    lines += ["", f"`{figure['command']}`: {figure['frames']:,} tracked frames of held-out video and of stories composed from it, {100 * figure['wrong']:.0f} % of them "
              f"wrong (true IoU under 0.7). The network alone is off by {raw['calibration_error']:.2f} on average (rank correlation {raw['rank_correlation']:.2f}); as "
              f"reported, and judged on objects that the correction was not fitted to, by {figure['calibration_error']:.2f} ({figure['rank_correlation']:.2f}): {said}."]  # fmt: skip
    return "\n".join(lines)


def zoom() -> str:
    """Small objects with windows of their own and without."""
    figure = load("zoom")
    if not figure:
        return ""
    lines = ["| object | pixels, longer side | J&F without `--zoom` | with it |", "|---|---|---|---|"]
    lines += [f"| {r['object']} | {r['pixels']} | {r['plain']:.3f} | **{r['zoom']:.3f}** |" for r in figure["objects"]]
    mean = figure["mean"]
    lines += [f"| mean | | {mean['plain']:.3f} | **{mean['zoom']:.3f}** |", "",
              f"`{figure['command']}`: cut-outs of ten DAVIS objects, composed into 1920x1080 clips, from their first masks; F within one pixel. A frame took "
              f"{figure['time']:.2f} times as long with it (one object, one thread, beside other work)."]  # fmt: skip
    return "\n".join(lines)


def live() -> str:
    """What a live job promises, measured."""
    figure = load("live")
    if not figure:
        return ""
    asking, deadline, nano, soak = (figure[name] for name in ("asking", "deadline", "nano", "soak"))
    answer = nano["answer_ms"]
    lines = ["| what | measured | floor |", "|---|---|---|",
             f"| `latest()` while the worker sleeps 10 s, p99 of {asking['calls']:,} calls | **{asking['p99_ms']:.3f} ms** (at most {asking['max_ms']:.2f}) | 1 ms |",
             f"| a third of the frames late, deadline 50 ms: answered in time | **{100 * deadline['published_in_time']:.1f} %** of {deadline['frames']} | 99.5 % |",
             f"| from capture to mask, `nano` on {nano['engine']}, 640x480, 30 fps | **p50 {answer['p50']:.0f} ms, p99 {answer['p99']:.0f} ms** ({nano['worked']} frames, {nano['dropped']} left out) | 60; 120 ms |",
             f"| {soak['frames']:,} frames of a fake camera: resident memory after 2,000 and at the end | **{soak['mb_before']} and {soak['mb_after']} MB** | flat |",
             f"| the same: threads; open files | {' and '.join(map(str, soak['threads']))}; {' and '.join(map(str, soak['files']))} | flat |",
             "", f"`{figure['command']}`, load average {figure['load']} at its start, two cores."]  # fmt: skip
    return "\n".join(lines)


def leaks() -> str:
    """What it takes to mend ten real leaks."""
    figure = load("leaks")
    if not figure:
        return ""
    lines = [
        "| clip, object, frame | taken along, missed, before | clicks | after | strokes |",
        "|---|---|---|---|---|",
    ]
    for r in figure["leaks"]:
        clicks = str(r["clicks"]) if r["mended"] else f"not in {r['clicks']}"
        lines.append(f"| {r['clip'].split('.')[0]}, {r['name']}, {r['frame_idx']} | {r['taken_before']:.2f}, {r['missed_before']:.2f} | {clicks} | "
                     f"{r['taken_after']:.2f}, {r['missed_after']:.2f} | {r['strokes']} |")  # fmt: skip
    lines += ["", f"Median: **{figure['median']:g} clicks** or **{figure['median_strokes']:g} strokes** (floor 2, aim 1). `{figure['command']}`: shares of the object's "
              "outlined area; mended is less than 0.10 taken along and less than 0.20 missed, by a simulated careful person."]  # fmt: skip
    return "\n".join(lines)


def memory() -> str:
    """Banks and searches on the long videos and the short sequences, the best first, and what they cost."""
    long, short, cost, lines = load("memory"), load("memory_short"), load("search"), []
    if long:
        brief = {row["pair"]: row for row in short["pairs"]} if short else {}
        lines += ["| bank / search | J&F, long videos (95 %) | gain over the first row's | absent | after return | switches "
                  "| wrong entries written, read | ms | MB | ten short sequences |", "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
        base, *others = long["pairs"]
        for r in [base, *sorted(others, key=lambda r: -r["j_and_f"])]:
            low, high = r["interval"]
            gain = (
                "" if r is base else f"{r['gain']:+.3f} ({r['gain_interval'][0]:+.3f} to {r['gain_interval'][1]:+.3f})"
            )
            brief_text = f"{brief[r['pair']]['j_and_f']:.3f}" if r["pair"] in brief else ""
            lines.append(
                f"| `{r['pair']}` | {r['j_and_f']:.3f} ({low:.3f} to {high:.3f}) | {gain} | {r['absent']:.3f} | {r['returned']:.3f} "
                f"| {r['switches']} | {100 * r['wrong_written']:.0f} %, {100 * r['wrong_read']:.0f} % | {r['ms']:.0f} "
                f"| {r['bytes'] / 1e6:.1f} | {brief_text} |"
            )
        frames = sum(next(iter(v.values()))["frames"] for v in long["videos"].values())
        machine = long["machine"]
        lines += ["", f"`{long['command']}`: {long['model']}, {len(long['videos'])} videos, {frames:,} frames, mask prompts; intervals by "
                  f"bootstrap over videos, gains paired by video. ms: everything but the encoder, one thread of {machine['processor']}, "
                  "beside another process."]  # fmt: skip
    if cost:
        slowest = max(cost["recall"].items(), key=lambda item: item[1]["median_us"])
        tree = cost["tree"]
        lines += ["", f"`{cost['command']}`: over {cost['frames']:,} frames no bank held more than its capacity, and a recall took "
                  f"{min(r['median_us'] for r in cost['recall'].values()):.0f} to {slowest[1]['median_us']:.0f} microseconds of Python "
                  f"(median; the slowest is `{slowest[0]}`). `Tree(3, lag=8)` on the demo clip: {tree['ratio']:.2f} times greedy's time per "
                  f"frame; {tree['ratio_certain']:.2f} while its pathways are copies, {tree['ratio_broad']:.2f} on the "
                  f"{100 * tree['broad_share']:.0f} % of frames where they are not."]  # fmt: skip
        if rows := cost.get("sam2"):
            base = next(r for r in rows["rows"] if r["pair"] == "recent/greedy")
            text = ", ".join(
                f"`{r['pair'].removesuffix('/greedy')}` {r['ms'] / base['ms']:.2f} ({r['bytes'] / 1e6:.0f} MB)"
                for r in rows["rows"]
            )
            lines += ["", f"On sam2.1-tiny at {rows['size']} px with random weights, all but the encoder, against `recent`'s {base['ms']:.0f} ms a frame on one "
                      f"thread: {text}. With `uncertainty=100` the tree always keeps three pathways."]  # fmt: skip
    return "\n".join(lines)


def words() -> str:
    """docs/words.md: what `words` reaches."""
    found, absent, composed, cost, app = (
        load(f"words_{name}") for name in ("find", "absent", "compose", "cost", "app")
    )
    right, mean = composed["right"], found["mean_without_chair"]
    wrong = sum(row["chosen"] not in (None, row["text"]) for row in composed["rows"])
    lines = [
        "| figure | floor | aim | reached | file |", "|---|---|---|---|---|",
        f"| credible start on the right object, from its name | 9 of 11 | 11 | **{found['right']} of {found['of']}** | `words_find.json` |",
        f"| text to the end, mean J&F; from the true box on the first frame | 0.60 | 0.05 below the box | **{mean['text_j_and_f']:.3f}**; {mean['box_j_and_f']:.3f} | `words_find.json` |",
        f"| false starts: 20 absent words, the first 60 frames of {absent['clips']} clips | 5 of 480 | 0 | **{absent['false_starts']} of {absent['pairs']}** | `words_absent.json` |",
        f"| colour and place among twins, right one chosen | 90 % | 98 % | {right['all']:.3f} of {composed['cases']} (colours {right['colour']:.3f}, places {right['place']:.3f}); {wrong or 'none'} wrong, the others were not found | `words_compose.json` |",
        f"| looking while following, processor time a frame at {cost['size']} | 4 ms | 2 ms | **{cost['processor_ms_a_frame']:.1f} ms** | `words_cost.json` |",
        f"| text typed in the app to the first credible mask, the person's click included, median of {app['texts'] - 1} at {app['size']}; the first text, which opens the detector | 2 s | 0.7 s | {app['text_ms']['p50'] / 1000:.2f} s; {app['first_text_ms'] / 1000:.2f} s | `words_app.json` |",
        "", "| sequence | text | first frame | IoU there | J&F from the text | from the box |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in found["sequences"]:
        scores = " | ".join(f"{row[key]:.3f}" for key in ("text_j_and_f", "box_j_and_f"))
        start = "none | " if row["start"] is None else f"{row['start']} | {row['start_iou']:.2f}"
        lines.append(f"| {row['name']} | {row['text']} | {start} | {scores} |")
    return "\n".join(lines)


def resurgsam2() -> str:
    """docs/words.md: how equal ReSurgSAM2 is to its original."""
    figure = load("resurgsam2")
    names = {"fusion": "fusion of words and three frames: map, token", "detection": "detection: masks, IoU, object logit, pointer",
             "tracking": "tracking of two objects with their text tokens: mask logits"}  # fmt: skip
    sizes = [result["size"] for result in figure["results"]]
    lines = [f"| greatest difference | limit | {' | '.join(f'{size} px' for size in sizes)} |", f"|{'---|' * (2 + len(sizes))}"]  # fmt: skip
    for name, title in names.items():
        found = " | ".join(f"{result[name]:.1e}" for result in figure["results"])
        lines.append(f"| {title} | {figure['limits'][name]:.0e} | {found} |")
    chosen = [one for result in figure["results"] for one in result.get("first_frames", [])]
    kept = [one for result in figure["results"] for one in result["long_memory"]]
    same = lambda some: f"{sum(one['original'] == one['ours'] for one in some)} of {len(some)}"
    lines += ["", f"The same first frame in {same(chosen)} scripts of scores, and the same first frame and long memories of {same(kept)} objects in clips of "
              f"{' and '.join(str(result['frames']) for result in figure['results'])} frames."]  # fmt: skip
    return "\n".join(lines)


def learner() -> str:
    """The default bank on long videos with each object's learner and without it."""
    from vidmem.evaluation.audit import bootstrap

    with_it, without = load("stories_learner"), load("stories")
    lines = ["| | J&F, long videos | silent while absent | J after a return |", "|---|---|---|---|"]
    for name, figure in (("the network alone", without), ("with the learner", with_it)):
        (row,) = figure["pairs"]
        lines.append(f"| {name} | {row['j_and_f']:.3f} | {row['absent']:.3f} | {row['returned']:.3f} |")
    gains = []
    for key in ("j_and_f", "absent", "returned"):
        differences = [
            next(iter(video.values()))[key] - next(iter(without["videos"][name].values()))[key]
            for name, video in with_it["videos"].items()
        ]
        low, high = bootstrap(differences)
        gains.append(f"{sum(differences) / len(differences):+.3f} ({low:+.3f} to {high:+.3f})")
    lines.append(f"| gain, paired by video (95 %) | {' | '.join(gains)} |")
    lines += [
        "",
        f"`{with_it['command']}`, and the same without `--learner`: {len(with_it['videos'])} videos; intervals by bootstrap over videos.",
    ]
    return "\n".join(lines)


def states() -> str:
    figure = load("state")
    lines = ["| model | objects | a state | writing it, in steps | reading it, in steps |", "|---|---|---|---|---|"]
    for row in figure["rows"]:
        lines.append(
            f"| `{row['model']}` | {row['objects']} | {row['mb']:.1f} MB | {row['write_steps']:.2f} | {row['read_steps']:.2f} |"
        )
    again = figure["replay"]
    lines += [
        "",
        f"Frames that need not be tracked again are done {again['ratio']:.0f} times as fast as tracked ones ({again['least']:.0f} to {again['most']:.0f}; "
        f"`nano`, one object, overlay and label maps: `{figure['command']}`).",
    ]
    return "\n".join(lines)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    stale = 0
    blocks = (
        ("README.md", "figures", table()),
        ("docs/batch.md", "figures of states", states()),
        ("docs/app.md", "scores", scores()),
        ("docs/app.md", "leaks", leaks()),
        ("docs/command-line.md", "zoom", zoom()),
        ("docs/live.md", "live", live()),
        ("docs/memory.md", "memory", memory()),
        ("docs/memory.md", "learner", learner()),
        ("docs/sam2.md", "sam2", sam2()),
        ("docs/words.md", "words", words()),
        ("docs/words.md", "resurgsam2", resurgsam2()),
        ("docs/engines.md", "start", figures_engines.start()),
        ("docs/engines.md", "stages", figures_engines.stages()),
        ("docs/engines.md", "int8", figures_engines.int8()),
        ("docs/engines.md", "engines", figures_engines.engines()),
        ("docs/engines.md", "tensorrt", figures_engines.tensorrt()),
        ("docs/engines.md", "sam2 on pytorch", figures_engines.sam2_pytorch()),
        ("models/nano/README.md", "figures", sequences()),
    )
    for name, block, text in blocks:
        page, begin, end = ROOT / name, BEGIN.format(block), END.format(block)
        old = page.read_text()
        before, rest = old.split(begin)
        new = f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"
        if new != old:
            stale = 1
            if not args.check:
                page.write_text(new)
            print(f"{name}: {block} {'differs from the JSON' if args.check else 'written'}")
    return stale if args.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
