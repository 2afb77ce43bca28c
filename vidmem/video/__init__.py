"""Frames in, results out; nothing here knows a network."""

from vidmem.video.camera import Camera, is_camera, open_camera
from vidmem.video.formats import SINKS, open_sinks
from vidmem.video.ledger import Ledger
from vidmem.video.rle import rle_decode, rle_encode
from vidmem.video.sink import BoxSink, OverlaySink, PngSink, RleSink, Sink
from vidmem.video.source import Source, open_video
from vidmem.video.threads import WriteBehind, prefetch

__all__ = [
    "SINKS",
    "BoxSink",
    "Camera",
    "Ledger",
    "OverlaySink",
    "PngSink",
    "RleSink",
    "Sink",
    "Source",
    "WriteBehind",
    "is_camera",
    "open_camera",
    "open_sinks",
    "open_video",
    "prefetch",
    "rle_decode",
    "rle_encode",
]
