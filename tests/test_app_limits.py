"""What visitors cannot do, and what becomes of their work when they go away."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import threading
import time
from pathlib import Path

import pytest
from clips import encode as write_clip

pytest.importorskip("gradio", reason="the app needs gradio")

from app.turns import Turns
from tests.visitors import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, square, visitor, visits  # noqa: F401


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
