"""One visitor of the app cannot take what belongs to all: memory, threads, the network, places. What comes from outside has a bound."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import base64
import io
import json
import math
import struct
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from test_app import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, visitor, visits  # noqa: F401

from app import guard, limits, server
from app.guard import Guesses
from app.limits import Limits, Refused
from app.live import Live, picture
from app.page import build
from app.said import arguments, configured
from app.turns import Turns
from app.visits import Visits
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import BANKS, Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import SEARCHES, Greedy, Tree


def leb(x: int) -> str:
    """One run of a COCO RLE."""
    out = ""
    while True:
        bits, x = x & 31, x >> 5
        more = x != -1 if bits & 16 else x != 0
        out += chr((bits | 32 if more else bits) + 48)
        if not more:
            return out


# What is said


@pytest.mark.parametrize("prompt, message", [
    ({"mask": {"size": list(SIZE), "counts": leb(0) + leb(20_000_000_000)}}, "cannot be read"),
    ({"mask": {"size": [10**9, 10**9], "counts": leb(10**18)}}, "the mask is"),
    ({"mask": {"size": list(SIZE), "counts": "o" * (limits.COUNTS + 1)}}, "expected at most"),
    ({"mask": {"size": list(SIZE), "counts": "\ud800"}}, "cannot be read"),
    ({"mask": {"size": 5, "counts": "a"}}, "cannot be read"),
    ({"mask": 5}, "cannot be read"),
    ({"points": [[9, 9]] * (limits.POINTS + 1)}, "a list of 101"),
    ({"points": [[10**400, 1]]}, "finite"),
    ({"points": [[float("nan"), 1]]}, "finite"),
    ({"points": [[True, 1]]}, "finite"),
    ({"points": [[[1], 1]]}, "finite"),
    ({"points": [[1, 1, 1]]}, "pairs"),
    ({"points": "abc"}, "a list of at most"),
    ({"points": [[1, 1]], "labels": [7]}, "labels"),
    ({"box": {"a": 1}}, "a list of at most"),
    ({"box": [0, 0, 1e300, 5]}, "finite"),
    ({"box": [1] * 1000}, "a list of 1000"),
])  # fmt: skip
def test_a_prompt_beyond_its_bounds_is_refused_before_anything_is_made(prompt, message):
    began = time.perf_counter()
    with pytest.raises(Exception, match=message) as refused:
        arguments(prompt, SIZE)
    assert time.perf_counter() - began < 1 and isinstance(refused.value, limits.UserError)


def test_a_long_mask_is_read_while_others_have_the_network(visitor, visits, monkeypatch):
    """What one visitor says is looked at with no lock held that another needs."""
    held = []
    decode = visits.get(visitor.token).project.__class__.say.__globals__["arguments"]
    monkeypatch.setattr("app.project.arguments", lambda *given: (held.append(visits.turns._held), decode(*given))[1])
    assert visitor.click().status_code == 200
    visitor.post("track", {"from": 0})
    visitor.wait()
    assert visitor.click(13).status_code == 200 and held and not any(held)


def test_prompts_have_a_number_and_points_a_sum(visitor, monkeypatch):
    monkeypatch.setattr("app.project.PROMPTS", 3)
    for _ in range(2):
        assert visitor.post("prompt", {"frame_idx": 0, "obj_id": 1, "points": [[14, 20]] * 50}).status_code == 200
    assert "one object on one frame" in visitor.click().json()["error"]
    assert visitor.click(1, obj_id=2, at=(50, 40)).status_code == 200
    assert "3 prompts already" in visitor.click(2).json()["error"]
    for obj_id in (-3, 0, 65536, 10**30, True, None, "1", 1.0):
        assert visitor.post("prompt", {"frame_idx": 0, "obj_id": obj_id, "points": [[1, 1]]}).status_code == 400, obj_id
    for frame_idx in (-1, COUNT, 10**30, 10**400, None):
        answer = visitor.post("prompt", {"frame_idx": frame_idx, "obj_id": 1, "points": [[1, 1]]})
        assert answer.status_code == 400 and len(answer.json()["error"]) < 200
    assert (
        visitor.post("track", {"from": -5}).status_code == 400
        and visitor.post("track", {"from": 10**9}).status_code == 400
    )


def test_undo_goes_back_a_number_of_steps(visitor, visits, monkeypatch):
    monkeypatch.setattr("app.project.UNDO", 5)
    for n in range(8):
        visitor.click(n)
    assert len(visits.get(visitor.token).project.done) == 5


@pytest.mark.parametrize("said", [{"width": 20_000}, {"width": 10**9}, {"uncertainty": math.inf}, {"uncertainty": "1e999"}, {"lag": 10**9}, {"width": [1]},
                                  {"width": "[" * 60}, {"no such": 1}, {"width": "x" * 10_000}, [1], 5])  # fmt: skip
def test_numbers_of_a_search_have_bounds(said):
    with pytest.raises(Refused):
        configured(Tree(), "search", {"search_numbers": said})


def test_every_number_of_every_policy_has_a_bound():
    for table in (BANKS, SEARCHES):
        for make in table.values():
            for field in server.dataclasses.fields(make()):
                if not isinstance(field.default, (bool, str)):
                    for value in (10**12, str(10**12), 1e300):
                        with pytest.raises(Refused):
                            configured(make(), "bank", {"bank_numbers": {field.name: value}})
    assert configured(Tree(), "search", {"search_numbers": {"width": "5", "uncertainty": 100, "lag": "null"}}) == Tree(
        5, None, 100
    )


def test_objects_times_pathways_are_what_a_frame_costs(visitor, visits):
    visits.get(visitor.token).project.max_pathways = 6
    for obj_id in (1, 2, 3):
        assert visitor.click(obj_id=obj_id).status_code == 200
    assert "9 pathways" in visitor.post("settings", {"search": "tree"}).json()["error"]
    assert visitor.post("settings", {"search": "tree", "search_numbers": {"width": 2}}).status_code == 200
    assert "8 pathways" in visitor.click(obj_id=4).json()["error"]


@pytest.mark.parametrize(
    "said",
    [{"bank": ["x"]}, {"search": {}}, {"bank": "recent", "bank_numbers": [1]}, {"search": "none"}, {"bank": "\ud800"}],
)
def test_odd_settings_are_answered(visitor, said):
    assert visitor.post("settings", content=json.dumps(said)).status_code == 400


def test_an_answer_holds_so_many_masks_and_no_painted_ones(visitor, monkeypatch):
    monkeypatch.setattr("app.server.CHANGED_BYTES", 20)
    visitor.click()
    visitor.post("track", {"from": 0})
    visitor.wait()
    visitor.revision, visitor.results, answers = 0, {}, 0
    while visitor.state()["more"]:
        answers += 1
    assert answers > 3 and sorted(visitor.results) == list(range(COUNT))
    mask = visitor.results[0]["1"]["rle"]
    assert visitor.post("prompt", {"frame_idx": 0, "obj_id": 1, "mask": mask}).status_code == 200
    assert visitor.state()["prompts"][-1]["prompt"]["mask"] is True


# Projects


def saved(visitor) -> bytes:
    visitor.click()
    visitor.post("track", {"from": 0})
    visitor.wait()
    visitor.post("export/project")
    return visitor.client.get(visitor.url(f"export/{visitor.wait()['work']['file']}")).content


def remade(data: bytes, change) -> bytes:
    """The same project, its JSON changed in place, or replaced by the text that is returned."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            text = source.read(name)
            if name == "project.json":
                said = json.loads(text)
                text = change(said) or json.dumps(said)
            target.writestr(name, text)
    return out.getvalue()


def put(*path, value):
    def change(said):
        for key in path[:-1]:
            said = said[key]
        said[path[-1]] = value

    return change


def test_a_project_is_checked_as_prompts_are(visitor, client):
    data = saved(visitor)
    other = Visitor(client)

    def error(change) -> str:
        assert other.post("video", content=remade(data, change)).status_code == 200
        return other.wait()["work"]["error"]

    seen = ("results", "0", "1")
    for fps in (0, float("nan"), -5, 1e308, 1e-9, "5", True, None, [1], 10**400):
        assert "frame rate" in error(put("video", "fps", value=fps)), fps
    assert "4999 objects" in error(lambda d: d["things"].update({str(i): d["things"]["1"] for i in range(2, 5000)}))
    assert "501 prompts" in error(lambda d: d.update(edits=d["edits"] * 501))
    assert "score" in error(put(*seen, "score", value=float("nan"))) and "score" in error(
        put(*seen, "score", value=10**400)
    )
    assert "object 77" in error(lambda d: d["results"]["0"].update({"77": d["results"]["0"]["1"]}))
    assert "cannot be read" in error(put(*seen, "rle", "counts", value="zz"))
    assert "cannot be read" in error(put(*seen, "rle", "counts", value=leb(0) + leb(4_000_000_000)))
    assert "the mask is" in error(put(*seen, "rle", "size", value=[99999, 99999]))
    assert "obj_id is -3" in error(lambda d: d["things"].update({"-3": d["things"]["1"]}))
    assert "object 9" in error(put("edits", 0, "obj_id", value=9))
    assert "outside" in error(put("edits", 0, "prompt", value={"points": [[9999, 1]]}))
    assert "a list of 5000" in error(put("edits", 0, "prompt", value={"points": [[9, 1]] * 5000}))
    assert "frame" in error(put("edits", 0, "frame_idx", value=999)) and "frame" in error(
        lambda d: d["results"].update({"-1": {}})
    )
    assert "does not fit" in error(put(*seen, "status", value="gone")) and error(put("things", value=[]))
    assert not error(put("fresh_until", value=10**9)) and other.state()["fresh_until"] == COUNT - 1
    assert other.click().status_code == 200


def test_a_small_zip_with_a_large_project_json_costs_no_memory(visitor, client, visits):
    data = saved(visitor)
    other = Visitor(client)
    bomb = remade(data, lambda d: json.dumps(d)[:-1] + ', "x": [' + "[]," * 9_000_000 + "[]]}")
    assert len(bomb) < 1 << 20
    other.post("video", content=bomb)
    assert "values" in other.wait()["work"]["error"]
    nested = remade(data, lambda d: '{"version": 1, "x": ' + "[" * 500_000 + "]" * 500_000 + "}")
    other.post("video", content=nested)
    assert "RecursionError" in other.wait()["work"]["error"]
    assert list(visits.get(other.token).folder.iterdir()) == []


def test_what_reads_an_upload_says_when_memory_is_short_and_ends_when_it_is_told(visitor, client, clip, monkeypatch):
    from app.decode import decode

    folder = Path(clip).parent / "frames"
    folder.mkdir(exist_ok=True)
    assert "MB" in decode(Path(clip), folder, Limits(decode_mb=150), lambda said: None, lambda: False)
    (fifo := folder / "fifo.mp4").unlink(missing_ok=True)
    __import__("os").mkfifo(fifo)  # nobody writes: it would read for ever
    began = time.monotonic()
    assert decode(fifo, folder, Limits(), lambda said: None, lambda: time.monotonic() > began + 1) == "stopped"
    assert (
        decode(fifo, folder, Limits(decode_seconds=1), lambda said: None, lambda: False)
        and time.monotonic() - began < 20
    )


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
            began = time.monotonic()
            assert (
                client.get("/api/about").status_code == 200 and honest.state()["video"] and time.monotonic() - began < 2
            )
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
            await server.asyncio.sleep(60)

    async def read(seconds):
        return [piece async for piece in server.received(Slow(), 100, seconds, "too much")]

    monkeypatch.setattr(server, "PAUSE_SECONDS", 0.2)
    for seconds in (0.1, 60):
        began = time.monotonic()
        with pytest.raises(Refused, match="did not come whole") as refused:
            server.asyncio.run(read(seconds))
        assert refused.value.status == 408 and time.monotonic() - began < 5
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
            time.sleep(0.01)

    with holder:
        threads = [threading.Thread(target=work, args=(hostile, "hostile")) for _ in range(10)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        threads += [threading.Thread(target=work, args=(honest, "honest")) for _ in range(3)]
        for thread in threads[10:]:
            thread.start()
        time.sleep(0.1)
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


# In front of everything


def test_what_the_page_does_not_use_of_gradio_is_closed(client, visits):
    before = set(Path(__import__("tempfile").gettempdir()).glob("gradio/*"))
    for path in (
        "/gradio_api/upload",
        "/gradio_api/queue/join",
        "/gradio_api/run/predict",
        "/login",
        "/upload",
        "/gradio_api/reset",
    ):
        assert client.post(path, files={"files": ("x.txt", b"kept?")}).status_code == 404, path
    for path in (
        "/gradio_api/info",
        "/config",
        "/gradio_api/heartbeat/x",
        "/gradio_api/queue/data",
        "/gradio_api/deep_link",
        "/monitoring",
        "/api/predict",
        "/pwa_icon",
    ):
        assert client.get(path).status_code == 404, path
    assert set(Path(__import__("tempfile").gettempdir()).glob("gradio/*")) == before
    assert client.get("/").status_code == 200 and client.get("/theme.css").status_code == 200


def test_the_browser_is_told_to_run_no_script_but_ours(client, visitor):
    answer = client.get("/")
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert (
        "'unsafe-inline'" not in rules["script-src"]
        and rules["script-src"].count("'sha256-") == len(guard.INLINE.findall(answer.content)) > 0
    )
    assert (
        rules["object-src"] == "'none'"
        and rules["connect-src"].startswith("'self'")
        and "*" not in answer.headers["content-security-policy"]
    )
    for path in ("/api/about", "/static/app.js", visitor.url("frames/0.jpg"), "/no/such"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and (
            "content-security-policy" in headers or path == "/no/such"
        ), path


def test_names_that_are_no_names_are_refused(client):
    for host in ("[", "", "evil.example:80@127.0.0.1", "127.0.0.1.nip.io"):
        assert client.get("/api/about", headers={"Host": host}).status_code == 421, host
    for origin in ("http://[", "file://", "null", "http://evil@testserver", ""):
        assert client.get("/api/about", headers={"Origin": origin}).status_code == 403, origin


def test_a_visit_has_so_many_requests_at_once(client, visits):
    visitor = Visitor(client)
    app = client.app.middleware_stack
    while not isinstance(app, guard.Guard):
        app = app.app
    app.going[visitor.token] = guard.AT_ONCE
    answer = visitor.client.get(visitor.url("state"))
    assert answer.status_code == 429 and "at once" in answer.json()["error"]
    app.going.clear()
    assert visitor.client.get(visitor.url("state")).status_code == 200 and not app.going, (
        "and they are forgotten afterwards"
    )


def test_a_password_cannot_be_guessed(visits, monkeypatch):
    closed = TestClient(
        build(
            Tracker(FakeNetwork(), Recent(), Greedy()), visits.limits, visits, auth=("ann", "long-enough"), hosts=HERE
        )
    )

    def login(password):
        return closed.get(
            "/api/about", headers={"Authorization": "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()}
        ).status_code

    assert [login(f"wrong-{n}") for n in range(12)] == [401] * Guesses.MOST + [429] * 2
    assert login("long-enough") == 429, "a right guess looks as a wrong one"
    clock = time.monotonic
    monkeypatch.setattr(guard.time, "monotonic", lambda: clock() + Guesses.SECONDS + 1)
    assert login("long-enough") == 200
    guesses = Guesses()
    for n in range(Guesses.ADDRESSES + 50):
        guesses.wrong(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(guesses._wrong) == Guesses.ADDRESSES
    assert guard.network("2001:db8::1") == guard.network("2001:db8::ffff") != guard.network("2001:db8:1::1")


def test_places_of_those_who_brought_nothing_are_given_away(client, visits, clip):
    kept = Visitor(client, clip)
    empty = [Visitor(client) for _ in range(2)]
    assert client.post("/api/visits").status_code == 503
    for token in list(visits._visits):
        visits._visits[token].seen -= 121
    assert client.post("/api/visits").status_code == 200
    assert kept.token in visits._visits and not any(v.token in visits._visits for v in empty)


def test_twenty_visitors_track_at_once_and_a_click_comes_between(clip):
    crowd = Visits(Limits(visitors=21))
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), crowd.limits, crowd, hosts=HERE)
    with TestClient(app) as client:
        everybody = [Visitor(client, clip) for _ in range(21)]
        for v in everybody:
            assert v.click().status_code == 200
        *tracking, honest = everybody
        with crowd.turns.place():  # so that all are in line at once
            for v in tracking:
                assert v.post("track", {"from": 0}).status_code == 200
        waits = []
        while any(crowd.get(v.token).busy for v in tracking):
            began = time.monotonic()
            assert honest.click(0, obj_id=len(waits) % 5 + 1).status_code == 200
            waits.append(time.monotonic() - began)
        assert all(v.wait()["fresh_until"] == COUNT - 1 for v in tracking) and sorted(waits)[len(waits) // 2] < 1


def test_the_fuzzer_of_the_app_runs(capsys):
    """A few seconds of `scripts/fuzz_app.py`: nothing breaks, nothing swells, nothing stays. How long a click takes is measured by a longer run of it."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "fuzz_app", Path(__file__).resolve().parents[1] / "scripts/fuzz_app.py"
    )
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    assert fuzz.main(["--seconds", "6", "--most", "30"]) == 0, capsys.readouterr().out
