"""What others' tools read of our files, by those tools: trackeval, pycocotools, SAM 2's own loaders, FFmpeg."""

import json
from fractions import Fraction

import numpy as np
import pytest
from results import frame, rectangle, result

from vidmem.video import open_sinks

SIZE = (48, 64)
PATHS = {
    1: [(4, 6, 20, 18), (6, 6, 22, 18), None, (10, 8, 26, 20)],
    7: [None, (30, 10, 50, 40), (32, 10, 52, 40), (18, 10, 38, 40)],
}  # the last overlap


def masks_at(t):
    return {
        o: rectangle(boxes[t]) if boxes[t] else np.zeros(SIZE, bool) for o, boxes in PATHS.items() if t or o == 1
    }  # 7 comes later


@pytest.fixture
def written(tmp_path):
    """Four frames, the first of which is frame 10 of its video, in every format."""
    sinks = open_sinks(["sav", "vos", "mot", "webm", "rgba", "png"], tmp_path, Fraction(10))
    for t in range(4):
        f = frame(10 + t, t / 10, value=200)
        for sink in sinks:
            sink.write(f, result(f, masks_at(t)))
    for sink in sinks:
        sink.close()
    return tmp_path


def test_sam2s_loaders_read_both_kinds_of_png(written):
    loaders = pytest.importorskip("training.dataset.vos_segment_loader", reason="sam2 or pandas is not here")
    several, one = (
        loaders.MultiplePNGSegmentLoader(str(written / "objects")),
        loaders.PalettisedPNGSegmentLoader(str(written / "masks")),
    )
    for t in range(4):
        said = {obj_id - 1: mask.numpy() for obj_id, mask in several.load(10 + t).items()}  # it adds one
        for obj_id in PATHS:
            assert np.array_equal(said[obj_id], masks_at(t).get(obj_id, np.zeros(SIZE, bool)))
        labels = {o: m.numpy() for o, m in one.load(10 + t).items()}
        for obj_id, mask in labels.items():
            assert not mask[~masks_at(t)[obj_id]].any() and mask.any()


def test_trackeval_reads_the_mot_text_and_finds_the_same_boxes(written, tmp_path):
    trackeval = pytest.importorskip("trackeval")
    data = tmp_path / "mot/ours/data"
    data.mkdir(parents=True)
    (data / "clip.txt").write_text((written / "mot.txt").read_text())
    truth = tmp_path / "truth/clip/gt"
    truth.mkdir(parents=True)
    (truth / "gt.txt").write_text(
        (written / "mot.txt").read_text().replace(",0.9000,", ",1,")
    )  # truth counts where that is 1
    dataset = trackeval.datasets.MotChallenge2DBox({
        "GT_FOLDER": str(tmp_path / "truth"), "TRACKERS_FOLDER": str(tmp_path / "mot"), "TRACKERS_TO_EVAL": ["ours"], "SKIP_SPLIT_FOL": True,
        "SEQ_INFO": {"clip": 4}, "PRINT_CONFIG": False, "DO_PREPROC": False,
    })  # fmt: skip
    raw = dataset.get_raw_seq_data("ours", "clip")
    for t in range(4):
        seen = {o: boxes[t] for o, boxes in PATHS.items() if boxes[t]}
        assert raw["tracker_ids"][t].tolist() == list(seen)
        for (x0, y0, x1, y1), det in zip(seen.values(), raw["tracker_dets"][t]):
            assert det.tolist() == [x0 + 1, y0 + 1, x1 - x0, y1 - y0]
    scores = trackeval.metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(
        dataset.get_preprocessed_seq_data(raw, "pedestrian")
    )
    assert scores["MOTA"] == 1 and scores["IDSW"] == 0


def test_pycocotools_reads_the_tracks_of_youtube_vos(written):
    coco = pytest.importorskip("pycocotools.mask")
    tracks = json.loads((written / "tracks.json").read_text())
    assert [t["obj_id"] for t in tracks] == [1, 7] and all(len(t["segmentations"]) == 4 for t in tracks)
    for track in tracks:
        for t, (rle, box, area) in enumerate(zip(track["segmentations"], track["bboxes"], track["areas"])):
            expected = masks_at(t).get(track["obj_id"], np.zeros(SIZE, bool))
            if rle is None:
                assert not expected.any() and box is None and area is None
            else:
                assert np.array_equal(coco.decode(rle).astype(bool), expected) and coco.area(rle) == area
                assert coco.toBbox(rle).tolist() == box


def test_trackeval_reads_the_tracks_of_youtube_vos(written, tmp_path):
    trackeval = pytest.importorskip("trackeval")
    tracks = json.loads((written / "tracks.json").read_text())
    truth = [t | {"id": n, "iscrowd": 0, "height": SIZE[0], "width": SIZE[1]} for n, t in enumerate(tracks, 1)]
    for t in truth:
        t["segmentations"] = [r and {"size": r["size"], "counts": r["counts"]} for r in t["segmentations"]]
    (tmp_path / "gt/youtube_vis_").mkdir(parents=True)
    videos = [{"id": 1, "file_names": [f"clip/{t}.jpg" for t in range(4)]}]
    (tmp_path / "gt/youtube_vis_/gt.json").write_text(
        json.dumps({"videos": videos, "categories": [{"id": 1, "name": "object"}], "annotations": []})
    )
    folder = tmp_path / "vis/youtube_vis_/ours/data"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(tracks))
    dataset = trackeval.datasets.YouTubeVIS({
        "GT_FOLDER": f"{tmp_path}/gt/", "TRACKERS_FOLDER": f"{tmp_path}/vis/", "TRACKERS_TO_EVAL": ["ours"], "SPLIT_TO_EVAL": "", "PRINT_CONFIG": False,
    })  # fmt: skip
    raw = dataset.get_raw_seq_data("ours", "clip")
    assert [len(ids) for ids in raw["tracker_ids"]] == [
        sum(bool(boxes[t]) for boxes in PATHS.values()) for t in range(4)
    ]


def test_the_cut_out_is_transparent_where_nothing_is_tracked(written):
    import av
    from PIL import Image

    decoder = av.codec.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder drops the alpha
    with av.open(str(written / "cutout.webm")) as container:
        packets = list(container.demux(video=0))
    movie = [f.to_ndarray(format="rgba") for packet in packets if packet.size for f in decoder.decode(packet)]
    assert len(movie) == 4
    for t, picture in enumerate(movie):
        still = np.array(Image.open(written / f"cutout/{10 + t:05d}.png"))
        seen = np.any(list(masks_at(t).values()), 0)
        for image in (picture, still):
            assert (image[..., 3] > 127)[seen].mean() > 0.97 and (image[..., 3] < 128)[~seen].mean() > 0.97
        assert still.shape == (*SIZE, 4) and (still[..., :3] == 200).all()
