"""Which memories each frame reads equals the official predictor exactly: frames, temporal codes and pointers.

The official reads are watched from outside (`Probe`): a chunk of its `memory` that equals a stored memory names the frame,
what its position adds to the sine code names the temporal code. Ours are the plans that the banks hand to `attend`.
"""

import pytest

torch = pytest.importorskip("torch")
from official import begin, build, follow, network, pictures, script  # noqa: E402

from vidmem.memory import Recent  # noqa: E402
from vidmem.networks.sam2.common import sine_grid  # noqa: E402
from vidmem.search import Greedy  # noqa: E402
from vidmem.session import Session  # noqa: E402
from vidmem.types import Frame  # noqa: E402

SIZE = 64
POINTS = {1: [[20, 20]], 2: [[40, 20]], 3: [[30, 50]]}


class Probe:
    """Records, for each call of the official memory attention, [(frame, code), ...] and [(frame, distance), ...]."""

    def __init__(self, official, monkeypatch):
        self.official, self.now, self.reads = official, None, {}
        self.tokens, forward = (SIZE // 16) ** 2, official.memory_attention.forward
        self.sine = sine_grid(64, SIZE // 16, SIZE // 16).flatten(2)[0].T

        def watched(**given):
            self.record(given["memory"][:, 0], given["memory_pos"][:, 0], given["num_obj_ptr_tokens"])
            return forward(**given)

        monkeypatch.setattr(official.memory_attention, "forward", watched)
        single = official._run_single_frame_inference

        def noted(state, output_dict, frame_idx, *args, **kwargs):
            self.now, self.entries = (
                frame_idx,
                {**output_dict["cond_frame_outputs"], **output_dict["non_cond_frame_outputs"]},
            )
            return single(state, output_dict, frame_idx, *args, **kwargs)

        def keyword(inference_state, output_dict, frame_idx, **kwargs):
            return noted(inference_state, output_dict, frame_idx, **kwargs)

        monkeypatch.setattr(official, "_run_single_frame_inference", keyword)

    def record(self, memory, position, pointers: int) -> None:
        codes = self.official.maskmem_tpos_enc[:, 0, 0]
        spatial = []
        for start in range(0, len(memory) - pointers, self.tokens):
            chunk = memory[start : start + self.tokens]
            frames = [
                f for f, e in self.entries.items() if torch.equal(e["maskmem_features"][0].flatten(1).T.float(), chunk)
            ]
            rest = (position[start : start + self.tokens] - self.sine).mean(0)
            spatial.append((frames[0], int((codes - rest).square().sum(-1).argmin())))
            assert len(frames) == 1
        pointed = []
        for start in range(len(memory) - pointers, len(memory), 4):
            vector, code = memory[start : start + 4].reshape(-1), position[start]
            frames = [f for f, e in self.entries.items() if torch.allclose(e["obj_ptr"][0], vector)]
            pointed.append((frames, code))
        self.reads.setdefault(self.now, []).append((spatial, pointed))


def watch(session_network, ours):
    """Our plans of every `attend`, in the words of `Probe`."""
    reads, attend = [], session_network.attend

    def watched(features, plans):
        for plan in plans:
            if plan.recalls:
                spatial = [(r.entry.frame_idx, int(r.tcode) % 7) for r in plan.recalls]
                distances = torch.tensor([[p.distance / plan.pointer_norm for p in plan.pointers]])
                _, codes = ours._pointer_tokens(torch.zeros(1, len(plan.pointers), 256), distances)
                reads.append((spatial, [(p.entry.frame_idx, code) for p, code in zip(plan.pointers, codes[0, ::4])]))
        return attend(features, plans)

    session_network.attend = watched
    return reads


def same(theirs, mine, sign: int) -> None:
    spatial, pointed = theirs
    assert spatial == [(sign * f, code) for f, code in mine[0]]
    assert len(pointed) == len(mine[1])
    for (frames, code), (frame, my_code) in zip(pointed, mine[1]):
        assert sign * frame in frames  # frames without the object share their pointer
        assert torch.allclose(code, my_code, atol=1e-6)


def absent(*spans: tuple[int, int]) -> set[int]:
    return {t for first, count in spans for t in range(first, first + count)}


CASES = {
    "12 frames": {"frames": 12},
    "48 frames, three objects": {"frames": 48, "objects": 3},
    "an absence of 1": {"frames": 20, "hidden": absent((7, 1))},
    "an absence of 7": {"frames": 24, "hidden": absent((6, 7))},
    "an absence of 20": {"frames": 34, "hidden": absent((8, 20))},
    "stride 3": {"frames": 30, "stride": 3},
    "stride 3, an absence of 7": {"frames": 30, "stride": 3, "hidden": absent((5, 7))},
    "a second prompt": {"frames": 30, "second": 13},
    "a second prompt, stride 3, three objects": {"frames": 30, "second": 13, "stride": 3, "objects": 3},
    "a correction that is no prompted frame": {"frames": 24, "second": 9, "corrections": False},
    "reverse": {"frames": 24, "reverse": True},
    "reverse, stride 3, an absence of 7": {"frames": 30, "reverse": True, "stride": 3, "hidden": absent((9, 7))},
}


@pytest.fixture(scope="module")
def pair():
    return build("sam2.1-tiny", SIZE)


@pytest.mark.parametrize("case", CASES)
def test_reads_are_the_official_ones(case, monkeypatch, pair):
    given = {"stride": 1, "objects": 1, "hidden": set(), "second": None, "reverse": False, "corrections": True} | CASES[
        case
    ]
    frames, stride = given["frames"], given["stride"]
    official, ours = pair
    monkeypatch.setattr(official, "memory_temporal_stride_for_eval", stride)
    monkeypatch.setattr(official, "add_all_frames_to_correct_as_cond", given["corrections"])
    presence = {t: -2.0 if t in given["hidden"] else 2.0 for t in range(frames)}
    decoders = (official.sam_mask_decoder, ours.sam_mask_decoder)
    for decoder in decoders:
        monkeypatch.setattr(decoder, "forward", decoder.forward)  # so that the script is taken back
    now, mine_now = (script(decoder, presence) for decoder in decoders)
    probe, images = Probe(official, monkeypatch), pictures(frames, SIZE)
    state = begin(official, images, monkeypatch)
    order = list(range(frames))[:: -1 if given["reverse"] else 1]
    ids = list(POINTS)[: given["objects"]]
    follow(official, now, monkeypatch)
    for obj_id in ids:
        official.add_new_points_or_box(state, order[0], obj_id, points=POINTS[obj_id], labels=[1])
    run = {"reverse": given["reverse"], "start_frame_idx": order[0]}
    if given["second"]:
        list(official.propagate_in_video(state, **run, max_frame_num_to_track=given["second"]))
        official.add_new_points_or_box(state, given["second"], ids[-1], points=[[10, 10]], labels=[0])
        run["start_frame_idx"] = given["second"] + 1
    list(official.propagate_in_video(state, **run))

    net = network("sam2.1-tiny", ours)
    reads = watch(net, ours)
    policy = Recent(stride=stride, frames=frames, corrections=given["corrections"])
    session = Session(net, policy, Greedy(), reverse=given["reverse"])
    for obj_id in ids:
        session.add(obj_id, points=POINTS[obj_id], labels=[1])
    sign = -1 if given["reverse"] else 1
    for t in order:
        mine_now["t"] = t
        reads.clear()
        session.step(Frame(t, None, images[t]))
        if t == order[0]:
            assert not reads and t not in probe.reads
            continue
        first, corrected = probe.reads[t][: len(ids)], probe.reads[t][len(ids) :]
        for theirs, mine in zip(first, reads, strict=True):
            same(theirs, mine, sign)
        if t == given["second"]:
            reads.clear()
            session.add(ids[-1], points=[[10, 10]], labels=[0])
            same(corrected[0], reads[0], sign)
        else:
            assert not corrected


def test_golden_reads_at_stride_three():
    """From the specification: t=11 reads 0, 3, 6, 9, 10 and t=20 reads 0, 6 ... 19."""
    from test_memory import fill, recalled

    assert [f for f, _ in recalled(fill(Recent(stride=3), 10).read(11))] == [0, 3, 6, 9, 10]
    assert [f for f, _ in recalled(fill(Recent(stride=3), 19).read(20))] == [0, 6, 9, 12, 15, 18, 19]
