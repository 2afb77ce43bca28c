"""A disk that fills up, or fails: what was written stays, and one line says what happened."""

import errno
import os

import numpy as np
import pytest
from clips import stream_of
from PIL import Image
from results import frame, rectangle, result

from vidmem.errors import OutputError
from vidmem.video import BoxSink, OverlaySink, PngSink, RleSink, WriteBehind, open_sinks
from vidmem.video.sink import PART

FULL = "/dev/full"  # Linux: every write to it fails as on a full disk
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full here")
BOX = (10, 20, 30, 40)


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(*args, **kwargs):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@needs_full
@pytest.mark.parametrize(("kind", "name"), [(RleSink, "masks.jsonl"), (BoxSink, "boxes.csv")])
def test_a_full_disk_is_called_that_by_the_sinks_of_lines(tmp_path, kind, name):
    os.symlink(FULL, tmp_path / name)
    with pytest.raises(OutputError, match=rf"the disk is full while writing .*{name}; frames written before are kept"):
        with kind(tmp_path / name) as sink:
            sink.write(frame(), result(frame(), {1: rectangle(BOX)}))


@needs_full
def test_a_disk_that_is_full_from_the_start_is_found_before_the_work_begins(tmp_path):
    os.symlink(FULL, tmp_path / "overlay.mp4")
    with pytest.raises(OutputError, match="the disk is full while writing .*overlay.mp4"):
        OverlaySink(tmp_path / "overlay.mp4")


class FullContainer:
    """A PyAV container on a disk that has filled up since the header."""

    def __init__(self, container, error):
        self.container, self.mux = container, error

    def close(self):
        self.container.close()
        self.mux()


@pytest.mark.parametrize(
    ("error", "words"), [(no_space, "the disk is full while writing"), (failing, "cannot be written")]
)
def test_an_overlay_that_cannot_be_finished_is_left_as_it_is_and_the_reason_told(tmp_path, error, words):
    """The first error is the one that is raised, though closing fails as well."""
    path = tmp_path / "overlay.mp4"
    sink, other = OverlaySink(path), BoxSink(tmp_path / "boxes.csv")
    f = frame()
    sink.write(f, result(f))
    sink._container = FullContainer(sink._container, error)
    with pytest.raises(OutputError, match=words):
        with WriteBehind([other, sink]) as writer:
            writer.write(f, result(f, {1: rectangle(BOX)}))
    assert len(other.path.read_text().splitlines()) == 2  # other files stay, closed and whole
    assert other._file.closed


def test_a_disk_that_fills_up_keeps_the_label_maps_before(tmp_path, monkeypatch):
    sink = PngSink(tmp_path)
    sink.write(frame(0), result(frame(0), {1: rectangle(BOX)}))
    monkeypatch.setattr(Image.Image, "save", no_space)
    with pytest.raises(OutputError, match="the disk is full while writing .*00001.png; frames written before are kept"):
        sink.write(frame(1), result(frame(1)))
    assert np.asarray(Image.open(tmp_path / "00000.png")).any()


@needs_full
def test_a_half_written_label_map_is_not_left(tmp_path):
    os.symlink(FULL, tmp_path / PART)
    with pytest.raises(OutputError, match="the disk is full"):
        PngSink(tmp_path).write(frame(0), result(frame(0), {1: rectangle(BOX)}))
    assert not (tmp_path / "00000.png").exists()


def test_a_sinks_error_reaches_the_caller_and_every_other_sink_is_closed(tmp_path, monkeypatch):
    sinks = open_sinks(["overlay", "png", "rle", "csv"], tmp_path)
    monkeypatch.setattr(Image.Image, "save", no_space)
    f = frame()
    with pytest.raises(OutputError, match="00000.png"):
        with WriteBehind(sinks) as writer:
            writer.write(f, result(f, {1: rectangle(BOX)}))
    overlay, _, rle, table = sinks
    assert len(stream_of(overlay.path)[3]) == 1
    assert rle._file.closed and table._file.closed
