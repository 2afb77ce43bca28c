"""The app behind its routes: what a visitor can do, and what a visitor cannot. The page itself is tested in a browser, in test_browser.py."""

import io
import json
import struct
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from clips import encode as write_clip
from PIL import Image

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient

import vidmem
from app.limits import Limits
from app.page import build
from app.turns import Turns
from app.visits import Visits
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.video import rle_decode, rle_encode

SIZE, COUNT = (48, 64), 24
HERE = {"127.0.0.1", "testserver"}


def square(t: int, hidden=()) -> np.ndarray:
    """A red square that goes to the right; not there on hidden frames."""
    image = np.full((*SIZE, 3), 40, np.uint8)
    if t not in hidden:
        image[12:28, 6 + t : 22 + t] = (220, 30, 30)
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "red square.mp4"
    return write_clip(path, [square(t, hidden=(15, 16, 17)) for t in range(COUNT)])


@pytest.fixture
def visits():
    made = Visits(Limits(upload_mb=2, visitors=3, frames=200))
    yield made
    made.close()


@pytest.fixture
def client(visits):
    """The whole ASGI app, Gradio's page included."""
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), visits.limits, visits, hosts=HERE)
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


class Visitor:
    """Speaks for one browser tab."""

    def __init__(self, client, clip=None):
        self.client, self.token, self.revision = client, client.post("/api/visits").json()["token"], 0
        self.results: dict[int, dict] = {}
        if clip is not None:
            assert self.post("video?name=red.mp4", content=Path(clip).read_bytes()).status_code == 200
            assert not self.wait()["work"]["error"]

    def url(self, path):
        return f"/api/visits/{self.token}/{path}"

    def post(self, path, said=None, **how):
        return self.client.post(self.url(path), **({"json": said} if said is not None else {}), **how)

    def state(self):
        said = self.client.get(self.url(f"state?since={self.revision}")).json()
        self.revision = said.get("revision", 0)
        self.results |= {int(i): seen for i, seen in said.get("results", {}).items()}
        return said

    def wait(self):
        until = time.monotonic() + 60
        while (said := self.state())["busy"] and time.monotonic() < until:
            time.sleep(0.02)
        return self.state() | {"work": said["work"]}

    def click(self, frame_idx=0, obj_id=1, at=(14, 20), label=1):
        return self.post("prompt", {"frame_idx": frame_idx, "obj_id": obj_id, "points": [list(at)], "labels": [label]})

    def mask(self, frame_idx, obj_id=1):
        self.state()
        return rle_decode(self.results[frame_idx][str(obj_id)]["rle"])


@pytest.fixture
def visitor(client, clip):
    return Visitor(client, clip)


# What a visitor can do


def test_click_track_and_correct_only_from_there(visitor):
    assert visitor.click().status_code == 200
    assert visitor.mask(0)[14:26, 8:20].all() and not visitor.mask(0)[:, 30:].any()
    assert visitor.post("track", {"from": 0}).status_code == 200 and not visitor.wait()["work"]["error"]
    assert sorted(visitor.results) == list(range(COUNT)) and visitor.mask(10)[14:26, 18:30].all()
    assert [visitor.results[t]["1"]["status"] for t in (14, 16)] == ["tracking", "occluded"]
    before = {t: visitor.results[t] for t in range(12)}
    first = visitor.revision
    assert visitor.post("prompt", {"frame_idx": 12, "obj_id": 1, "box": [16, 10, 38, 30]}).status_code == 200
    assert visitor.state()["fresh_until"] == 12
    visitor.post("track", {"from": 12})
    said = visitor.wait()
    assert said["fresh_until"] == COUNT - 1 and visitor.revision - first == 1 + COUNT - 12, (
        "frames before the correction were not touched"
    )
    assert all(visitor.results[t] == before[t] for t in before)


def test_going_back_and_forth_gives_what_going_straight_gives(client, clip):
    """Corrections restart from saved states; the masks must be those of a session that saw everything in order."""
    one, other = Visitor(client, clip), Visitor(client, clip)
    one.click()
    one.post("track", {"from": 0})
    one.wait()
    one.click(13, at=(60, 40), label=0)
    one.click(5, obj_id=2, at=(50, 5))
    one.post("track", {"from": 5})
    one.wait()
    other.click()
    other.click(5, obj_id=2, at=(50, 5))
    other.post("track", {"from": 0})
    other.wait()
    other.click(13, at=(60, 40), label=0)
    other.post("track", {"from": 13})
    other.wait()
    for t in range(COUNT):
        for obj_id, seen in other.results[t].items():
            assert one.results[t][obj_id] == seen, (t, obj_id)


def test_a_click_far_ahead_of_what_was_tracked_is_answered_without_tracking_there(visitor, visits, monkeypatch):
    project = visits.get(visitor.token).project
    steps, step = [], project._step
    project._step = lambda i, *then: (steps.append(i), step(i, *then))[1]
    visitor.click()
    monkeypatch.setattr("app.project.AHEAD", 5)
    visitor.click(20, obj_id=2, at=(30, 20))
    assert steps == [0, 20] and visitor.mask(20, 2).any()
    visitor.post("look/3")
    assert steps == [0, 20, 0, 1, 2, 3]
    visitor.post("look/2")
    visitor.post("track", {"from": 0})
    visitor.wait()
    assert steps[-COUNT:] == list(range(COUNT)), "then every frame is followed in order"
    steps.clear()
    visitor.post("look/14")
    assert visitor.click(14, at=(60, 44), label=0).status_code == 200 and steps == [10, 11, 12, 13, 14], (
        "from the state at frame 9"
    )
    steps.clear()
    visitor.post("look/12")
    visitor.click(12, at=(60, 44), label=0)
    assert steps == [10, 11, 12]


def test_undo_redo_rename_hide_and_delete(visitor):
    visitor.click()
    visitor.click(0, obj_id=2, at=(50, 40))
    assert set(visitor.state()["things"]) == {"1", "2"} and set(visitor.results[0]) == {"1", "2"}
    assert visitor.post("undo").json() == {"frame_idx": 0}
    assert set(visitor.state()["things"]) == {"1"} and set(visitor.results[0]) == {"1"}
    assert (
        visitor.post("undo?again=true").status_code == 200
        and set(visitor.state()["things"]) == {"1", "2"}
        and set(visitor.results[0]) == {"1", "2"}
    )
    visitor.post("objects/1", {"name": " fish <b> ", "visible": False})
    assert visitor.state()["things"]["1"] == {"name": "fish <b>", "color": "", "visible": False}
    visitor.post("objects/2", {"remove": True})
    assert set(visitor.state()["things"]) == {"1"} and set(visitor.results[0]) == {"1"}
    for _ in range(3):
        visitor.post("undo")
    assert "nothing to undo" in visitor.post("undo").json()["error"]
    assert visitor.state()["things"] == {}


def test_memory_says_what_is_held_why_and_what_is_read(visitor):
    visitor.click()
    visitor.post("track", {"from": 0})
    visitor.wait()
    said = visitor.client.get(visitor.url("memory")).json()
    entries = said["objects"]["1"]
    assert said["frame_idx"] == COUNT - 1 and entries[0] == {
        "frame_idx": 0,
        "why": "you prompted it",
        "prompted": True,
        "read": True,
    }
    assert (
        entries[-1]["frame_idx"] > 17 and "predicted IoU" in entries[-1]["why"] and any(e["read"] for e in entries[1:])
    )


def test_banks_and_searches_have_controls_and_are_taken(visitor):
    about = visitor.client.get("/api/about").json()
    fields = {f["name"]: f for f in about["policies"]["bank"]["confident"]["fields"]}
    assert fields["slots"]["least"] == 2 and about["policies"]["search"]["tree"]["about"]
    visitor.click()
    assert (
        visitor.post(
            "settings",
            {"bank": "confident", "search": "tree", "bank_numbers": {"slots": "4"}, "search_numbers": {"lag": "0"}},
        ).status_code
        == 200
    )
    visitor.post("track", {"from": 0})
    assert visitor.wait()["fresh_until"] == COUNT - 1
    assert "slots=1" in visitor.post("settings", {"bank": "confident", "bank_numbers": {"slots": 1}}).json()["error"]
    assert "no bank 'none'" in visitor.post("settings", {"bank": "none"}).json()["error"]


@pytest.mark.parametrize("kind", ["overlay", "webm", "png", "rle", "csv", "vos", "mot"])
def test_exports_are_files_that_can_be_opened(visitor, kind, tmp_path):
    visitor.click()
    visitor.post("track", {"from": 0})
    visitor.wait()
    visitor.post(f"export/{kind}")
    name = visitor.wait()["work"]["file"]
    answer = visitor.client.get(visitor.url(f"export/{name}"))
    assert answer.status_code == 200 and name.startswith("red-")
    path = tmp_path / name
    path.write_bytes(answer.content)
    if kind in ("overlay", "webm"):
        with vidmem.open_video(path) as video:
            assert sum(1 for _ in video) == COUNT
    elif kind == "png":
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == COUNT
    elif kind == "vos":
        assert len(json.loads(path.read_text())[0]["segmentations"]) == COUNT
    else:
        assert len(path.read_text().splitlines()) >= COUNT - 4


def test_a_project_is_taken_home_and_opened_again(visitor, client):
    visitor.click()
    visitor.post("objects/1", {"name": "square"})
    visitor.post("track", {"from": 0})
    visitor.wait()
    visitor.post("export/project")
    archive = visitor.client.get(visitor.url(f"export/{visitor.wait()['work']['file']}")).content
    other = Visitor(client)
    other.post("video?name=p.zip", content=archive)
    assert not other.wait()["work"]["error"]
    assert other.state()["things"]["1"]["name"] == "square" and other.results == visitor.results
    assert other.click(20, at=(30, 20)).status_code == 200


def test_what_cannot_be_done_is_said_and_nothing_is_lost(visitor):
    assert "click on it" in visitor.post("track", {"from": 0}).json()["error"]
    visitor.click()
    kept = visitor.state()["prompts"]
    for said, message in (({"frame_idx": 99, "obj_id": 1, "points": [[1, 1]]}, "no frame 99"), ({"frame_idx": 0, "obj_id": 1, "points": [[999, 1]]}, "outside"),
                          ({"frame_idx": 0, "obj_id": 1}, "without points"), ({"frame_idx": "0", "obj_id": 1}, "expected an integer"),
                          ({"frame_idx": 0, "obj_id": 1, "mask": {"size": [5, 5], "counts": "i0"}}, "the mask is"),
                          ({"frame_idx": 0, "obj_id": 1, "mask": {"size": list(SIZE), "counts": "oooooooooo0"}}, "the mask cannot be read"), ({"frame_idx": 0, "obj_id": 0, "points": [[1, 1]]}, "obj_id"),
                          ([1], "JSON object")):  # fmt: skip
        answer = visitor.post("prompt", said)
        assert answer.status_code == 400 and message in answer.json()["error"], answer.text
    assert visitor.state()["prompts"] == kept and visitor.mask(0).any()
    mask = np.zeros(SIZE, bool)
    mask[12:28, 6:22] = True
    assert visitor.post("prompt", {"frame_idx": 0, "obj_id": 3, "mask": rle_encode(mask)}).status_code == 200


def jpeg(t: int, size=SIZE) -> bytes:
    data = io.BytesIO()
    Image.fromarray(square(t)).resize(size[::-1]).save(data, "JPEG", quality=95)
    return data.getvalue()


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


# Limits, and going away


def test_uploads_beyond_the_limits_are_refused_with_the_limit(client, visits, clip, tmp_path):
    visitor = Visitor(client)
    answer = visitor.post("video", content=bytes(3 << 20))
    assert answer.status_code == 413 and "2 MB, which is the limit here" in answer.json()["error"]
    assert not list(visits.get(visitor.token).folder.glob("upload*"))
    for content, message in ((b"<html>not found</html>", "no video that the app takes"), (Path(clip).read_bytes()[:600], "no video"),
                             (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n", "no video that the app takes"),
                             (b"ffconcat version 1.0\nfile /etc/passwd\n", "no video that the app takes")):  # fmt: skip
        visitor.post("video", content=content)
        said = visitor.wait()
        assert message in said["work"]["error"] and "/etc" not in said["work"]["error"] and not said["video"]
    long = write_clip(tmp_path / "long.mp4", [square(0)] * 210)
    visitor.post("video", content=long.read_bytes())
    said = visitor.wait()
    assert said["video"]["count"] == 200 and "only the first 200 frames" in said["video"]["notes"][0]


def test_visitors_beyond_the_limit_wait_and_those_who_leave_take_nothing_with_them(client, visits, clip):
    three = [Visitor(client, clip if n == 0 else None) for n in range(3)]
    assert client.post("/api/visits").status_code == 503
    folder = visits.get(three[0].token).folder
    assert folder.is_dir() and client.post(three[0].url("end")).status_code == 200
    assert not folder.exists() and len(visits) == 2 and three[0].post("undo").status_code == 404
    assert client.post("/api/visits").status_code == 200
    for token in list(visits._visits):
        visits.get(token).seen -= 60 * visits.limits.idle_minutes + 1
    visits.sweep()
    assert len(visits) == 0 and not list(visits.root.iterdir())


def test_work_can_be_cancelled_and_what_was_done_is_kept(visitor, visits):
    visit = visits.get(visitor.token)
    visitor.click()
    read, reached = visit.project.frames, threading.Event()

    def slow(i):
        if i >= 5:
            reached.set()
            time.sleep(0.05)
        return read(i)

    visit.project.frames = slow
    visitor.post("track", {"from": 0})
    assert reached.wait(10) and "still tracking" in visitor.post("export/csv").json()["error"]
    visitor.post("cancel")
    said = visitor.state()
    assert not said["busy"] and 4 <= said["fresh_until"] < COUNT - 1


def test_a_turn_goes_round():
    """Somebody with a thousand frames lets another's click in after each of them."""
    turns, order, begun = Turns(), [], threading.Event()
    mine, another = turns.place(), turns.place()

    def long():
        for _ in range(20):
            with mine:
                begun.set()
                time.sleep(0.01)
                order.append("long")

    thread = threading.Thread(target=long)
    thread.start()
    begun.wait()
    for _ in range(3):
        with another:
            order.append("click")
    thread.join()
    places = [i for i, who in enumerate(order) if who == "click"]
    assert places[-1] <= 8, order
