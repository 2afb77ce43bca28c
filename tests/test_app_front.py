"""In front of all routes of the app: what is closed, headers, names, passwords, places; and many visitors at once."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import base64
import time
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient

from app import guard
from app.guard import Guesses
from app.limits import Limits
from app.page import build
from app.visits import Visits
from tests.visitors import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, reading_here, visitor, visits  # noqa: F401
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy


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
        with reading_here():
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
    assert fuzz.main(["--seconds", "5", "--most", "30"]) == 0, capsys.readouterr().out
