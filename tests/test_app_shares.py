"""One visitor of the app cannot take what belongs to all: threads, turns, uploads, cameras. Everybody has one of each."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import json
import math
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from starlette.testclient import WebSocketDenialResponse

from app import body, guard, limits, server
from app.limits import Refused
from app.live import Live, picture
from app.turns import Turns
from tests.visitors import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, visitor, visits  # noqa: F401
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy

# One of each


def test_requests_that_wait_have_no_thread_and_a_number(client, clip, visits):
    hostile, honest = Visitor(client, clip), Visitor(client, clip)
    place = visits.turns.place()
    with ThreadPoolExecutor(60) as many:
        with place:  # the network is taken: everything waits
            before = threading.active_count()
            sent = [many.submit(hostile.click, n % COUNT) for n in range(60)]
            until = time.monotonic() + 20
            while sum(s.done() for s in sent) < 60 - limits.WAITING and time.monotonic() < until:
                time.sleep(0.02)
            assert client.get("/api/about").status_code == 200 and honest.state()["video"]  # the network is still taken
            assert threading.active_count() - before < 8 + 60, "one thread for the network, besides those of this test"
        codes = sorted(s.result().status_code for s in sent)
    assert (
        codes.count(429) >= 60 - limits.WAITING - guard.AT_ONCE
        and set(codes) == {200, 429}
        and codes.count(200) <= limits.WAITING
    )
    assert honest.click().status_code == 200


def test_one_upload_of_a_visit_at_a_time_and_none_into_an_ended_one(client, clip, visits):
    visitor = Visitor(client)
    visit = visits.get(visitor.token)
    with visit.uploading():
        answer = visitor.post("video", content=Path(clip).read_bytes())
        assert answer.status_code == 429 and "still sending" in answer.json()["error"]
    (left,) = visit.folder.iterdir()
    left.unlink()

    def pieces():
        yield b"x" * 1000
        visits.end(visitor.token)
        yield b"x" * 1000

    assert client.post(visitor.url("video"), content=pieces()).status_code == 404
    assert not list(visits.root.iterdir())


def test_an_upload_and_a_prompt_have_deadlines(client, visits, monkeypatch):
    visitor = Visitor(client)

    class Slow:
        headers = {}

        async def stream(self):
            yield b"x"
            await body.asyncio.sleep(60)

    async def read(seconds):
        return [piece async for piece in body.received(Slow(), 100, seconds, "too much")]

    monkeypatch.setattr(body, "PAUSE_SECONDS", 0.2)
    for seconds in (0.1, 60):
        began = time.monotonic()
        with pytest.raises(Refused, match="did not come whole") as refused:
            server.asyncio.run(read(seconds))
        assert refused.value.status == 408 and time.monotonic() - began < 30
    answer = visitor.post("video", content=b"x", headers={"Content-Length": str(10**12)})
    assert answer.status_code == 413, "refused for what it says it has, before it has come"
    assert not list(visits.get(visitor.token).folder.iterdir())


def test_reading_and_exporting_have_threads_of_their_own(client, clip, visits):
    """As many uploads as there are visitors take two threads, and no click waits for them."""
    reading = visits.pools.of["reading"]
    gate = threading.Event()
    blocked = [reading.submit(gate.wait, 20) for _ in range(2)]
    waiting, honest = Visitor(client), visits.get(Visitor(client).token)
    try:
        assert waiting.post("video", content=Path(clip).read_bytes()).status_code == 200
        time.sleep(0.2)
        assert waiting.state()["busy"] and "still" in waiting.post("video", content=b"x").json()["error"]
        done = threading.Event()
        honest.begin("tracking", lambda stopped, progress: done.set())
        assert done.wait(5)
        assert waiting.post("cancel").status_code == 200 and not waiting.state()["busy"]
        assert not list(visits.get(waiting.token).folder.iterdir()), "a job that never began leaves no upload"
    finally:
        gate.set()
    assert all(b.result(5) for b in blocked)


def test_the_next_turn_is_for_who_was_served_the_longest_ago():
    turns, order = Turns(), []
    hostile, honest, holder = turns.place(), turns.place(), turns.place()

    def work(place, who):
        with place:
            order.append(who)

    def in_line(count):
        while len(turns._waiting) < count:
            time.sleep(0.01)

    with holder:
        threads = [threading.Thread(target=work, args=(hostile, "hostile")) for _ in range(10)]
        for thread in threads:
            thread.start()
        in_line(10)
        threads += [threading.Thread(target=work, args=(honest, "honest")) for _ in range(3)]
        for thread in threads[10:]:
            thread.start()
        in_line(13)
    for thread in threads:
        thread.join()
    assert order[:6].count("honest") == 3 and len(order) == 13


# Cameras


def refused(client, url) -> int:
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(url):
        pass
    return denied.value.status_code


def test_a_visit_has_one_camera_which_ends_with_it(client, visits):
    visitor = Visitor(client)
    with client.websocket_connect(visitor.url("live")) as socket:
        socket.send_bytes(bytes(8) + jpeg(0))
        socket.receive_json()
        assert refused(client, visitor.url("live")) == 429
        assert visits.get(visitor.token).watching and client.post(visitor.url("end")).status_code == 200
        assert socket.receive()["type"] == "websocket.close"
    assert len(visits) == 0 and refused(client, visitor.url("live")) == 404
    for _ in range(8):  # so nobody has more cameras than there are places
        visitor = Visitor(client)
        with client.websocket_connect(visitor.url("live")):
            client.post(visitor.url("end"))
    until = time.monotonic() + 5
    while len(visits) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(visits) == 0


def test_the_next_camera_may_come_while_the_last_one_is_closing(client, visits):
    visitor = Visitor(client)
    for _ in range(5):
        with client.websocket_connect(visitor.url("live")) as socket:
            socket.send_bytes(bytes(8) + jpeg(0))
            socket.send_text('{"obj_id": 1, "points": [[14, 20]]}')  # of the first frame, which is looked at first
            assert socket.receive_json()["clock"] == 0 and socket.receive_json()["objects"]


def test_a_camera_that_says_nothing_is_let_go_as_any_visitor(client, visits):
    visitor = Visitor(client)
    with client.websocket_connect(visitor.url("live")) as socket:
        socket.send_bytes(bytes(8) + jpeg(0))
        socket.receive_json()
        visits.get(visitor.token).seen -= 60 * visits.limits.idle_minutes + 1
        visits.sweep()
        assert socket.receive()["type"] == "websocket.close"


def test_what_comes_through_a_socket_has_bounds(client, visits):
    visitor = Visitor(client)
    with client.websocket_connect(visitor.url("live")) as socket:

        def ask(text):
            socket.send_text(text)
            return socket.receive_json()["error"]

        assert "no frame has come" in ask('{"obj_id": 1, "points": [[1, 1]]}')
        socket.send_bytes(struct.pack("<d", math.nan) + jpeg(0))
        assert socket.receive_json()["clock"] == 0
        assert "JSON object" in ask("[" * 20_000) and "JSON object" in ask("hello") and "JSON object" in ask("[1, 2")
        assert "finite" in ask('{"obj_id": 1, "points": [[1' + "0" * 400 + ", 1]]}")
        assert "a list of" in ask('{"obj_id": 1, "points": [' + "[1,1]," * 4000 + "[1,1]]}")
        assert "remove is" in ask('{"remove": [1]}') and "not in the session" in ask('{"remove": 7}')
        for _ in range(2):
            socket.send_text(json.dumps({"obj_id": 1, "points": [[14, 20]] * 50}))
            assert "objects" in socket.receive_json()
        assert "points on one frame" in ask('{"obj_id": 1, "points": [[14, 20]]}')
        socket.send_bytes(bytes(8) + jpeg(1))
        assert socket.receive_json()["objects"]
        socket.send_text("x" * (limits.TEXT_BYTES + 1))
        assert socket.receive()["type"] == "websocket.close"


def test_a_jpeg_of_many_passes_or_many_pixels_is_not_decoded():
    data = jpeg(0)
    at = data.index(b"\xff\xda")
    with pytest.raises(Refused, match="scans"):
        picture(data[:at] + data[at:-2] * 100 + data[-2:])
    size = data.index(b"\xff\xc0") + 5
    with pytest.raises(Refused, match="no JPEG|65000x65000"):
        picture(data[:size] + struct.pack(">HH", 65000, 65000) + data[size + 4 :])


def test_what_the_session_does_with_a_prompt_is_all_that_is_done_in_turn(visits):
    held, place = [], visits.turns.place()
    live = Live(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), place, 5)
    live.step(jpeg(0))
    live._said, said = (lambda *given: (held.append(visits.turns._held), said(*given))[1]), live._said
    assert live.say({"obj_id": 1, "points": [[14, 20]]})["objects"] and held == [False]
