"""Compare ReSurgSAM2 with its original code, on random weights: fusion, detection, the credible first frame, tracking, long memory.

    git clone https://github.com/jinlab-imvr/ReSurgSAM2
    pip install einops hydra-core omegaconf iopath transformers
    python scripts/check_resurgsam2.py ReSurgSAM2 [--golden tests/data/resurgsam2.npz] [--json assets/figures/resurgsam2.json]

The original needs CUDA extensions. Here five small stubs stand for them (the scan by the original's own reference function), so it runs on
a CPU; its files are not touched, and nothing is fetched. Trained weights were not compared: there were none.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import resurgsam2_cases as cases
import torch
import torch.nn.functional as F

from vidmem.evaluation.machine import write_figure
from vidmem.memory import Diverse
from vidmem.networks.base import Sought
from vidmem.networks.resurgsam2.config import CONFIG, arranged
from vidmem.networks.resurgsam2.model import ReSurgSam2
from vidmem.networks.resurgsam2.network import ReSurgNetwork
from vidmem.search import Greedy
from vidmem.session import Session

COMMAND = "python scripts/check_resurgsam2.py CHECKOUT --sizes 128 256"
LIMITS = {"fusion": 1e-4, "detection": 1e-3, "tracking": 1e-3}


# The original --------------------------------------------------------------------------------------------------------
def stand_in(checkout: Path) -> None:
    """Let the original be imported without its CUDA extensions."""
    import transformers

    sys.path.insert(0, str(checkout))

    def module(name: str, **names) -> types.ModuleType:
        made = sys.modules[name] = types.ModuleType(name)
        vars(made).update(names)
        return made

    def convolve(x, weight, bias, *_):
        return F.silu(F.conv1d(F.pad(x, (weight.shape[1] - 1, 0)), weight[:, None], bias, groups=len(weight)))

    def scan(u, delta, a, b, c, d, z, bias, softplus):
        from mamba_ssm.ops.selective_scan_interface import selective_scan_ref

        y = selective_scan_ref(u, delta, a, b, c, d, None, bias, softplus)
        return y, None, y * F.silu(z)

    module("mamba_ssm").__path__ = [str(checkout / "mamba/mamba_ssm")]
    module("mamba_ssm.ops.triton").__path__ = []
    module("mamba_ssm.ops.triton.layer_norm", RMSNorm=None, layer_norm_fn=None, rms_norm_fn=None, _layer_norm_fwd=None)
    module("causal_conv1d", causal_conv1d_fn=convolve, causal_conv1d_update=None)
    module("causal_conv1d_cuda", causal_conv1d_fwd=convolve)
    module("selective_scan_cuda", fwd=scan)
    module("timm")
    module("timm.models")
    module("timm.models.layers", DropPath=torch.nn.Dropout, to_2tuple=lambda x: (x, x), trunc_normal_=torch.nn.init.trunc_normal_)  # fmt: skip
    text, vision = {"num_hidden_layers": 1}, {"num_hidden_layers": 1}
    small = transformers.CLIPConfig(text_config=text, vision_config=vision)
    transformers.CLIPModel.from_pretrained = classmethod(lambda cls, name: cls(small))
    transformers.AutoTokenizer.from_pretrained = classmethod(lambda cls, name: None)


def original(size: int):
    """The original predictor as its evaluation commands build it, with random weights and a text tower that says what `cases.said` says."""
    import sam2.build_sam as build
    from omegaconf import OmegaConf

    for name, function in (("times", lambda *x: int(np.prod(x))), ("divide", lambda a, b: a / b)):
        OmegaConf.register_new_resolver(name, function, replace=True)
    compose = sys.modules["hydra"].compose
    build.compose = lambda config_name, overrides=(): compose(config_name, [*overrides, f"scratch.resolution={size}"])
    made = build.build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_s_rvos.yaml", device="cpu", apply_postprocessing=False, apply_long_term_memory=True,
        training_config_file="configs/rvos_training/17/sam2.1_s_ref17_resurgsam",
    )  # fmt: skip
    assert made.image_size == size, made.image_size
    made.language_model = Tower()
    made.language_tokenizer = lambda text, **how: {"input_ids": torch.tensor(len(text))}
    cases.randomize(made.state_dict())
    return made


class Tower(torch.nn.Module):
    """A text tower in which a text's length says which random sentence it is."""

    def forward(self, input_ids):
        hidden, pooled = cases.said(int(input_ids))
        return types.SimpleNamespace(last_hidden_state=hidden, pooler_output=pooled)


def begin(official, images: list[np.ndarray]):
    import sam2.sam2_video_predictor as module

    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    frames = torch.stack([(torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 - mean) / std for i in images])
    module.load_video_frames = lambda **how: (frames, *images[0].shape[:2])
    return official.init_state("in memory")


# The comparisons -----------------------------------------------------------------------------------------------------
def worst(*pairs) -> float:
    return max(
        float((torch.as_tensor(one).float() - torch.as_tensor(other).float()).abs().max()) for one, other in pairs
    )


@torch.inference_mode()
def fusion(official, ours: ReSurgSam2, golden: dict) -> float:
    """The fused map and the token of what is meant, after 0, 1 and 2 earlier frames."""
    side, errors = ours.config.grid, []
    maps = cases.features(3, side)
    flat = [m.flatten(1).T[:, None] for m in maps]
    place = ours.memory_attention.query_code.transpose(0, 1)
    sentence, _ = ours.words(*cases.said())
    for seen in range(3):
        past = flat[1 : 1 + seen]
        theirs, meant = official.cross_modal_fusion(
            [flat[0]], [place], official.token_projection(cases.said()[0]), [(side, side)], [[p] for p in past], [[place] for _ in past]
        )  # fmt: skip
        places, codes = arranged(seen)
        image, token = ours.cross_modal_fusion(
            maps[places].flatten(2).transpose(1, 2), torch.tensor(codes), ours.memory_attention.query_code, sentence
        )
        errors.append(worst((image[0], theirs[:, 0]), (token, meant)))
        golden |= {f"fusion_map_{seen}": theirs[:, 0, ::8].numpy(), f"fusion_token_{seen}": meant[0, 0].numpy()}
    return max(errors)


@torch.inference_mode()
def detection(official, network: ReSurgNetwork, images, golden: dict) -> float:
    """Masks, IoUs, object logit and pointer of three frames on which the words are looked for."""
    state, errors, past = begin(official, images[:3]), [], []
    official.add_new_text(state, 0, 1, "red")
    words, seen = network.understand("red"), []

    for t in range(3):
        out, _, feats, places = official._run_single_frame_referring(
            state, state["output_dict_per_obj"][0], t, 1, False, False, state["text_inputs_per_obj"][0]["text_emb"],
            None, [f for f, _ in past], [p for _, p in past],
        )  # fmt: skip
        past = [(feats, places), *past][:2]
        features = network.encode(images[t])
        read = network.refer(features, [Sought(words, tuple(seen))], [None])
        said = network.decode(features, read, [None])
        seen = [features, *seen][:2]
        best = said.iou[0].argmax()
        errors.append(
            worst(
                (said.mask_logits[0, best], out["pred_masks"][0, 0]), (said.iou[0, best], out["iou"][0]),
                (said.object_logit, out["object_score_logits"][0]), (said.pointer[0, best], out["obj_ptr"][0]),
            )
        )  # fmt: skip
        golden |= {
            f"detection_mask_{t}": out["pred_masks"][0, 0, ::2, ::2].numpy(), f"detection_pointer_{t}": out["obj_ptr"][0].numpy(),
            f"detection_scores_{t}": np.array([float(out["iou"][0]), float(out["object_score_logits"][0, 0])], np.float32),
        }  # fmt: skip
    return max(errors)


def followed(official, network, images, scores, texts: dict[int, str]) -> tuple:
    """-> of each frame the low-resolution masks of both, and of each object the frame it began with and its long memories, of both."""
    state = begin(official, images)
    state["num_frames"] = 10_000  # a stream: the number of pointers is not taken from the clip's length
    count, theirs = len(images), []
    for obj_id, text in texts.items():
        official.add_new_text(state, 0, obj_id, text)
    forwards = [decoder.forward for decoder in (official.sam_mask_decoder, network.model.sam_mask_decoder)]
    names = torch.cat([network.understand(text).name[0] for text in texts.values()])
    at, own = (
        cases.script(decoder, names, scores) for decoder in (official.sam_mask_decoder, network.model.sam_mask_decoder)
    )
    image_of = official._get_image_feature
    resize = official._get_orig_video_res_output
    official._get_image_feature = lambda s, t, b: (at.update(t=t), image_of(s, t, b))[1]
    official._get_orig_video_res_output = lambda s, masks: (theirs.append(masks[:, 0].clone()), resize(s, masks))[1]
    try:
        for _ in official.propagate_in_video(state, start_frame_idx=0, max_frame_num_to_track=count - 1):
            pass
        session = Session(network, Diverse(absent=True, likeness="width", presence=False), Greedy(), cuts=None)
        mine = []
        for obj_id, text in texts.items():
            session.add(obj_id, text=text)
        for t, image in enumerate(images):
            own["t"] = t
            mine.append(session.step(image).mask_logits)
        tracks = session._state.tracks
        ours = {
            o: (track.best.bank.began, [e.frame_idx for e in track.best.bank.bank.held.kept])
            for o, track in tracks.items()
        }
    finally:
        official._get_image_feature, official._get_orig_video_res_output = image_of, resize
        official.sam_mask_decoder.forward, network.model.sam_mask_decoder.forward = forwards
    outs = {o: state["output_dict_per_obj"][i] for i, o in enumerate(texts)}
    began = {o: (next(iter(out["cond_frame_outputs"]), None), list(out["long_mem"])) for o, out in outs.items()}
    return theirs, mine, began, ours


def first_frames(official, network, images) -> list[dict]:
    """Scripted scores -> the frame that both begin with: in a row, a gap, an unsure mask, the object gone, a tie, never."""
    yes, unsure, gone = (4.0, 0.8), (4.0, 0.6), (1.0, 0.9)
    scripts = {
        "in a row": [yes] * 7, "the best of five": [(4.0, q) for q in (0.75, 0.8, 0.95, 0.9, 0.8, 0.99, 0.99)],
        "a tie goes to the newest": [(4.0, q) for q in (0.9, 0.8, 0.9, 0.9, 0.8, 0.7, 0.7, 0.7)],
        "an unsure mask in between": [yes, yes, unsure, yes, yes, yes, yes, yes], "gone in between": [yes] * 3 + [gone] + [yes] * 6, "gone twice": [yes] * 4 + [gone, yes, yes, gone] + [yes] * 6,
        "at the thresholds": [(2.1972246, 0.7)] * 8, "never": [gone, unsure] * 4,
    }  # fmt: skip
    said = []
    for name, scores in scripts.items():
        _, _, theirs, ours = followed(official, network, images[: len(scores)], [scores], {1: "red"})
        said.append({"script": name, "original": theirs[1][0], "ours": ours[1][0]})
    return said


def long_scores(count: int, seed: int) -> list[tuple[float, float]]:
    """Found at once, mostly confident, gone for three frames."""
    random = np.random.default_rng(seed)
    scores = [(4.0, float(q)) for q in random.choice([0.93, 0.96, 0.97, 0.99], count)]
    return [(-3.0, 0.97) if 17 <= t < 20 else score for t, score in enumerate(scores)]


def compare(size: int, golden: dict, whole: bool) -> dict:
    """whole: first frames too, which do not depend on the size, and more of tracking."""
    official, ours = original(size), ReSurgSam2(CONFIG.at(size)).eval()
    state = {k: v for k, v in official.state_dict().items() if not k.startswith("language_model.")}
    ours.load_state_dict(state, strict=True)
    network = ReSurgNetwork("random", ours, lambda text: cases.said(len(text)))
    count = 34 if whole else 22
    images = cases.pictures(count, size)
    result = {
        "size": size, "frames": count, "fusion": fusion(official, ours, golden),
        "detection": detection(official, network, images, golden),
    }  # fmt: skip
    if whole:
        result["first_frames"] = first_frames(official, network, images)
    scores = [long_scores(count, 5), long_scores(count, 6)]
    theirs, mine, began, own = followed(official, network, images, scores, {1: "red", 2: "a blue one"})
    result["tracking"] = worst(*((m, t) for m, t in zip(mine, theirs)))
    result["long_memory"] = [{"obj_id": o, "original": list(began[o]), "ours": list(own[o])} for o in began]
    if whole:
        golden |= {f"tracking_masks_{t}": theirs[t][:, ::2, ::2].numpy() for t in (5, 16, 33)}
        golden |= {"began": np.array([began[o][0] for o in began]), "kept": np.array([began[o][1] for o in began])}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a clone of jinlab-imvr/ReSurgSAM2")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], help="pixels a side (default: 128 256)")
    parser.add_argument("--golden", type=Path, help="write the original's numbers at the first size to this file")
    parser.add_argument("--json", type=Path, help="write what was compared to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    stand_in(args.checkout.resolve())
    results, passed = [], True
    for size in args.sizes:
        golden, first = {}, size == args.sizes[0]
        results.append(compare(size, golden, first))
        passed &= all(one["original"] == one["ours"] for one in results[-1].get("first_frames", []))
        passed &= all(one["original"] == one["ours"] for one in results[-1]["long_memory"])
        passed &= all(results[-1][name] <= limit for name, limit in LIMITS.items())
        print(results[-1], flush=True)
        if args.golden and first:
            args.golden.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(args.golden, **golden)
        if args.json:  # after each size: the next may take minutes
            write_figure({"command": COMMAND, "limits": LIMITS, "passed": passed, "results": results}, args.json)
    print("equal" if passed else "NOT equal")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
