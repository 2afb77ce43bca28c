"""An encoder in int8: made from other videos than the gate's, refused where it was not made, and close to the one in float32."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

import vidmem
from vidmem.catalogue import int8
from vidmem.catalogue.choose import Request, gated, named
from vidmem.catalogue.export import export_model
from vidmem.engines.openvino import INT8
from vidmem.errors import ModelError, SourceError

ROOT = Path(__file__).resolve().parents[1]
NANO, DEMO = ROOT / "models/nano", ROOT / "assets/demo.mp4"

pytest.importorskip("openvino")
pytestmark = pytest.mark.skipif(not (NANO / "encode.onnx").is_file() or not DEMO.is_file(), reason="no nano weights")


@pytest.fixture
def videos(tmp_path) -> Path:
    """Two videos of 20 frames, somewhere below a folder."""
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        with av.open(str(tmp_path / "videos" / name / "clip.mp4"), "w") as file:
            stream = file.add_stream("libx264", rate=24)
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
            for t in range(20):
                field = np.kron(random.integers(0, 256, (6, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(field, t, 1), format="rgb24")))
            file.mux(stream.encode())
    return tmp_path / "videos"


def test_frames_are_spread_over_all_videos(videos, monkeypatch):
    monkeypatch.setattr(int8, "FRAMES", 8)
    found = int8.calibration_videos(videos)
    assert [path.parent.name for path in found] == ["a", "b"]
    assert [frame.shape for frame in int8.calibration_frames(found)] == [(96, 128, 3)] * 8


def test_a_folder_without_videos_or_with_the_gates_own_is_refused(tmp_path, videos):
    with pytest.raises(SourceError, match="holds no video"):
        int8.calibration_videos(tmp_path / "nothing")
    shutil.copy(DEMO, videos / "mine.mp4")
    with pytest.raises(SourceError, match="mine.mp4 is the clip that the gate follows"):
        int8.calibration_videos(videos)


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "int8", "to": "openvino"},
        {"data": Path("videos"), "to": "openvino"},
        {"precision": "int8", "data": Path("videos")},
        {"precision": "int8", "data": Path("videos"), "to": "openvino", "objects": 2},
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(tmp_path, wrong):
    pytest.importorskip("torch")
    with pytest.raises(ModelError, match="--precision int8, --data FOLDER and --to openvino go together"):
        export_model("nano", tmp_path / "out", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_without_its_file_int8_is_neither_tried_nor_run(tmp_path):
    for graph in NANO.glob("*.onnx"):
        shutil.copy(graph, tmp_path)
    asked = Request("nano", "openvino", "int8", threads=1, weights=tmp_path)
    assert ("openvino", "int8") not in gated(asked)
    with pytest.raises(
        ModelError, match=r"encode\.int8\.xml is missing; `vidmem export MODEL --to openvino --precision int8"
    ):
        named(asked, strict=False)
    (tmp_path / INT8).write_text("")
    assert ("openvino", "int8") in gated(asked), "there it is tried"
    before = asked.graphs()
    (tmp_path / INT8).write_text("another")
    assert asked.graphs() != before and Request("nano", weights=tmp_path).graphs() not in (before, asked.graphs())


def test_an_export_in_int8_follows_as_float32_does_and_waits_for_its_gate(tmp_path, videos, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("nncf")
    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path / "cache"))
    manifest = export_model("nano", tmp_path / "out", to="openvino", precision="int8", data=videos)
    assert {INT8, "encode.int8.bin", "encode.xml"} <= set(manifest.files) and manifest.precision == "int8"
    assert (tmp_path / "out/encode.int8.bin").stat().st_size < (tmp_path / "out/encode.bin").stat().st_size / 2
    with pytest.raises(ModelError, match="has not passed its gate"):
        vidmem.load("nano", runtime="openvino", precision="int8", weights=tmp_path / "out", threads=1)
    with vidmem.open_video(DEMO, end=1) as video:
        (image,) = [frame.image for frame in video]
    small, large = (
        named(Request("nano", "openvino", precision, threads=1, weights=tmp_path / "out"), strict=False).encode(image)
        for precision in ("int8", "fp32")
    )
    for mine, theirs in zip(small, large):
        assert 0 < np.sqrt(((mine - theirs) ** 2).mean() / (theirs**2).mean()) < 0.5
