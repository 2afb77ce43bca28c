"""Cameras: the browser's through the socket, and those of a network."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import json
import struct
import threading
import time

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient

from app.limits import Limits
from app.page import build
from app.visits import Visits
from tests.visitors import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, square, visitor, visits  # noqa: F401
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.video import rle_decode


def test_a_camera_is_followed_through_the_socket_and_the_newest_frame_wins(client, visits):
    visitor = Visitor(client)
    with client.websocket_connect(visitor.url("live")) as socket:
        socket.send_bytes(struct.pack("<d", 5.5) + jpeg(0))
        said = socket.receive_json()
        assert said["clock"] == 5.5 and said["objects"] == {} and said["size"] == list(SIZE)
        socket.send_text(json.dumps({"obj_id": 1, "points": [[14, 20]], "labels": [1]}))
        said = socket.receive_json()
        assert rle_decode(said["objects"]["1"]["rle"])[14:26, 8:20].all() and said["clock"] is None
        socket.send_text(json.dumps({"obj_id": 1, "points": [[999, 0]]}))
        assert "outside" in socket.receive_json()["error"]
        for t in range(1, 4):
            socket.send_bytes(struct.pack("<d", t) + jpeg(4 * t))
            said = socket.receive_json()
        assert rle_decode(said["objects"]["1"]["rle"])[14:26, 20:32].all() and said["clock"] == 3
        with visits.turns.place():  # nobody may compute: frames pile up, and all but the newest are dropped
            for t in range(5, 9):
                socket.send_bytes(struct.pack("<d", t) + jpeg(12))
            time.sleep(0.3)
        clocks = [(said := socket.receive_json())["clock"]]
        while clocks[-1] != 8:
            clocks.append((said := socket.receive_json())["clock"])
        assert len(clocks) <= 2 and said["dropped"] >= 2
        for wrong in (b"no picture", jpeg(0, (20, 20)), jpeg(0, (2000, 30))):
            socket.send_bytes(bytes(8) + wrong)
            assert "error" in socket.receive_json()
        socket.send_text(json.dumps({"remove": 1}))
        assert socket.receive_json()["objects"] == {}
    until = time.monotonic() + 10
    while visits.get(visitor.token).watching and time.monotonic() < until:
        time.sleep(0.01)
    assert not visits.get(visitor.token).watching


def test_a_network_camera_is_read_only_where_that_was_allowed(client, visits, clip):
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(clip.parent)))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}/red%20square.mp4"
    try:
        with client.websocket_connect(Visitor(client).url("live")) as socket:
            socket.send_text(json.dumps({"url": address}))
            assert "--allow-url" in socket.receive_json()["error"] and asked == []
        allowed = Visits(Limits(allow_url=True))
        open_client = TestClient(
            build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), allowed.limits, allowed, hosts=HERE)
        )
        with open_client.websocket_connect(Visitor(open_client).url("live")) as socket:
            for wrong in (f"file://{clip}", str(clip), "concat:/etc/passwd", "ftp://x/y"):
                socket.send_text(json.dumps({"url": wrong}))
                assert "no address of a camera" in socket.receive_json()["error"]
            socket.send_text(json.dumps({"url": address}))
            assert socket.receive_bytes()[:2] == b"\xff\xd8"
            said = socket.receive_json()
            assert said["size"] == list(SIZE) and said["frame_idx"] == 0 and asked
        allowed.close()
    finally:
        served.shutdown()
