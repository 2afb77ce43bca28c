"""Nothing is lost by a reload, a closed tab or a killed server: work is kept on a shelf while it is done, and offered again."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import json
import time

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient
from test_app import COUNT, HERE, Visitor, clip  # noqa: F401

from app.limits import Limits, Refused
from app.page import build
from app.shelf import Shelf
from app.visits import EMPTY_SECONDS, Visits
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy


def started(folder, most_mb=100, **limits):
    """A server with a shelf -> (client, visits)."""
    visits = Visits(Limits(visitors=3, frames=200, **limits), Shelf(folder, most_mb))
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), visits.limits, visits, hosts=HERE)
    return TestClient(app, raise_server_exceptions=False), visits


@pytest.fixture
def client_of(tmp_path):
    made = []

    def begin(**how):
        client, visits = started(tmp_path / "projects", **how)
        made.append(visits)
        return client, visits

    yield begin
    for visits in made:
        visits.close()


def tracked(client, clip, name="fish"):
    visitor = Visitor(client, clip)
    visitor.click()
    visitor.post("objects/1", {"name": name})
    visitor.post("track", {})
    assert visitor.wait()["fresh_until"] == COUNT - 1
    return visitor


def listed(client):
    return client.get("/api/projects").json()["projects"]


def test_work_is_kept_by_itself_and_a_new_server_goes_on_with_it(client_of, clip):
    client, visits = client_of()
    visitor = tracked(client, clip)
    visits.keep()
    (kept,) = listed(client)
    assert kept["name"] == "red.mp4" and kept["objects"] == 1 and kept["count"] == COUNT and kept["bytes"] > 0
    assert client.get(f"/api/projects/{kept['id']}.jpg").content[:2] == b"\xff\xd8"
    other_client, _ = client_of()  # as after kill -9: nobody said goodbye to the first
    other = Visitor(other_client)
    assert other.post(f"projects/{kept['id']}").status_code == 200
    said = other.wait()
    assert not said["work"]["error"] and said["video"]["name"] == "red.mp4" and said["things"]["1"]["name"] == "fish"
    assert other.results == visitor.results and said["fresh"] == {"1": [0, COUNT - 1]} and said["stale_from"] is None
    assert other.click(12, at=(60, 44), label=0).status_code == 200, "and corrections go on as before"
    assert other.state()["fresh_until"] == 12


def test_what_is_only_looked_at_is_not_kept_and_a_change_is_written_once(client_of, clip):
    client, visits = client_of()
    visitor = Visitor(client, clip)
    visits.keep()
    assert listed(client) == [], "nothing was said about it"
    visitor.click()
    visits.keep()
    (kept,) = listed(client)
    path = visits.shelf.folder / kept["id"] / "project.json"
    first = path.stat().st_mtime_ns
    visits.keep()
    assert path.stat().st_mtime_ns == first
    visitor.post("objects/1", {"name": "renamed"})
    visits.keep()
    assert path.stat().st_mtime_ns > first and json.loads(path.read_text())["things"]["1"]["name"] == "renamed"
    assert len(listed(client)) == 1 and visitor.state()["kept"]["at"]


def test_a_page_that_is_loaded_again_finds_its_visit_and_one_that_stays_away_is_let_go(client_of, clip):
    client, visits = client_of()
    visitor = tracked(client, clip)
    assert visitor.post("away").status_code == 200
    assert visits._visits[visitor.token].away is not None
    assert visitor.state()["things"]["1"]["name"] == "fish" and visits._visits[visitor.token].away is None
    visitor.post("away")
    visits._visits[visitor.token].away -= EMPTY_SECONDS + 1
    visits.keep()
    visits.sweep()
    assert visitor.token not in visits._visits and len(listed(client)) == 1, "its work is on the shelf"
    empty = Visitor(client)
    empty.post("away")
    assert empty.token not in visits._visits, "with nothing done there is nothing to stay for"


def test_an_end_keeps_what_was_not_written_yet(client_of, clip):
    client, _ = client_of()
    visitor = tracked(client, clip)
    visitor.post("end")
    assert [one["name"] for one in listed(client)] == ["red.mp4"]
    again = Visitor(client)
    again.post(f"projects/{listed(client)[0]['id']}")
    again.wait()
    assert again.results == visitor.results


def test_another_video_keeps_the_one_before(client_of, clip):
    client, visits = client_of()
    visitor = tracked(client, clip)
    visitor.post("video?name=second.mp4", content=clip.read_bytes())
    visitor.wait()
    visitor.click(3, at=(17, 20))
    visits.keep()
    assert {one["name"] for one in listed(client)} == {"red.mp4", "second.mp4"}


def test_two_tabs_do_not_work_on_one_project(client_of, clip):
    client, visits = client_of()
    one, other = tracked(client, clip), Visitor(client)
    visits.keep()
    name = listed(client)[0]["id"]
    answer = other.post(f"projects/{name}")
    assert answer.status_code == 409 and "another tab" in answer.json()["error"]
    assert client.post(f"/api/projects/{name}/delete").status_code == 409
    one.post("away")
    visits._visits[one.token].away -= 1
    assert other.post(f"projects/{name}").status_code == 200 and one.token not in visits._visits
    other.wait()
    other.post("end")
    assert client.post(f"/api/projects/{name}/delete").status_code == 200 and listed(client) == []
    assert not (visits.shelf.folder / name).exists()


def test_a_full_shelf_says_so_and_tracking_goes_on(client_of, clip):
    client, visits = client_of(most_mb=0)
    visitor = tracked(client, clip)
    visits.keep()
    assert listed(client) == [] and "delete some" in visitor.state()["kept"]["error"]
    assert visits._visits[visitor.token].unkept
    visitor.post("away")
    visits._visits[visitor.token].away -= EMPTY_SECONDS + 1
    visits.sweep()
    assert visitor.token in visits._visits, "what is kept nowhere is not thrown away after two minutes"


@pytest.mark.parametrize("name", ["..", "0" * 16, "x" * 16, "%2e%2e", "0123456789abcdef/../x"])
def test_no_name_reaches_beyond_the_shelf(client_of, name):
    client, _ = client_of()
    visitor = Visitor(client)
    assert visitor.post(f"projects/{name}").status_code in (404, 405)
    assert client.post(f"/api/projects/{name}/delete").status_code in (404, 405)


def test_a_broken_project_is_said_to_be_broken(client_of, clip):
    client, visits = client_of()
    visitor = tracked(client, clip)
    visitor.post("end")
    (kept,) = listed(client)
    (visits.shelf.folder / kept["id"] / "project.json").write_text("{")
    other = Visitor(client)
    other.post(f"projects/{kept['id']}")
    assert "not whole any more" in other.wait()["work"]["error"]


def test_a_shelf_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="--no-projects"):
        Shelf(tmp_path / "file" / "projects", 10)


def test_a_server_for_others_keeps_nothing(client_of, clip):
    visits = Visits(Limits())
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), visits.limits, visits, hosts=HERE)
    client = TestClient(app)
    visitor = tracked(client, clip)
    visits.keep()
    assert listed(client) == [] and not client.get("/api/about").json()["keeps"]
    visitor.post("away")
    visits._visits[visitor.token].away -= EMPTY_SECONDS + 1
    visits.sweep()
    assert visitor.token in visits._visits, "a closed tab can be opened again for as long as a visit may be idle"
    visits._visits[visitor.token].seen = time.monotonic() - 60 * visits.limits.idle_minutes - 1
    visits.sweep()
    assert visitor.token not in visits._visits
    visits.close()
