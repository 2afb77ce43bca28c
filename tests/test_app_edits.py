"""What is up to date and what is not, object by object; clicks taken back; tracking back, both ways and to a frame; pictures; a file to begin with."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient
from test_app import COUNT, HERE, Visitor, client, clip, jpeg, square, visitor, visits  # noqa: F401

from app import plain
from app.given import Given, prompts_of
from app.limits import Limits, Refused
from app.page import build
from app.told import policies
from app.visits import Visits
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.video import rle_encode


def track(visitor, **said):
    visitor.post("track", said)
    done = visitor.wait()
    assert not done["work"]["error"]
    return done


def test_another_object_leaves_the_first_up_to_date_and_track_does_what_is_not(visitor):
    visitor.click()
    assert track(visitor)["fresh"] == {"1": [0, COUNT - 1]}
    visitor.click(8, obj_id=2, at=(50, 5))
    said = visitor.state()
    assert said["fresh"] == {"1": [0, COUNT - 1], "2": [8, 8]} and said["stale_from"] == 9
    first = visitor.revision
    said = track(visitor)
    assert said["fresh"]["2"] == [8, COUNT - 1] and said["stale_from"] is None
    assert visitor.revision - first == COUNT - 9 == said["work"]["done"] == said["work"]["of"], "not a frame before it"
    assert track(visitor)["work"]["of"] == 0, "then there is nothing to do"


def test_a_correction_outdates_its_object_alone(visitor):
    visitor.click()
    visitor.click(0, obj_id=2, at=(50, 5))
    track(visitor)
    visitor.click(10, at=(60, 44), label=0)
    assert visitor.state()["fresh"] == {"1": [0, 10], "2": [0, COUNT - 1]}
    visitor.post("undo")
    assert visitor.state()["fresh"] == {"1": [0, 10], "2": [0, COUNT - 1]}, "what followed was made with the click"
    visitor.post("objects/1", {"remove": True})
    assert visitor.state()["stale_from"] is None


def test_tracking_stops_at_a_chosen_frame_and_goes_on_from_there(visitor):
    visitor.click()
    said = track(visitor, until=7)
    assert said["fresh"] == {"1": [0, 7]} and sorted(visitor.results) == list(range(8)) and said["work"]["at"] == 7
    assert track(visitor)["fresh"] == {"1": [0, COUNT - 1]}
    assert "until" in visitor.post("track", {"until": COUNT}).json()["error"]
    assert "expected one of" in visitor.post("track", {"way": "up"}).json()["error"]


def test_an_object_is_followed_back_and_both_ways(visitor):
    visitor.click(10, at=(24, 20))
    said = track(visitor, way="back", until=4)
    assert said["fresh"] == {"1": [4, 10]} and said["work"]["of"] == said["work"]["done"] == 7
    assert sorted(visitor.results) == list(range(4, 11)) and visitor.mask(5)[14:26, 13:25].all()
    track(visitor, way="both")
    assert visitor.state()["fresh"] == {"1": [0, COUNT - 1]}
    assert visitor.mask(0)[14:26, 8:20].all() and visitor.mask(14)[14:26, 22:34].all()
    back = [visitor.results[t]["1"] for t in range(10)]
    visitor.click(3, obj_id=2, at=(50, 5))
    track(visitor)
    assert [visitor.results[t]["1"] for t in range(10)] == back and "2" in visitor.results[5], (
        "what was found on the way back stays when others are tracked forth"
    )
    visitor.click(6, at=(20, 20))
    assert visitor.state()["fresh"]["1"] == [6, 6], "an earlier prompt is where it begins from now on"


def test_single_clicks_are_taken_back(visitor):
    visitor.click()
    visitor.post("prompt", {"frame_idx": 0, "obj_id": 1, "points": [[12, 18], [60, 44]], "labels": [1, 0]})
    assert visitor.post("unsay", {"frame_idx": 0, "obj_id": 1, "edit": 1, "point": 0}).status_code == 200
    prompts = [one["prompt"] for one in visitor.state()["prompts"]]
    assert [p["points"] for p in prompts] == [[[14, 20]], [[60, 44]]] and prompts[1]["labels"] == [0]
    visitor.post("unsay", {"frame_idx": 0, "obj_id": 1, "edit": 1, "point": 0})
    assert len(visitor.state()["prompts"]) == 1 and visitor.mask(0)[14:26, 8:20].all()
    assert "not there any more" in visitor.post("unsay", {"frame_idx": 0, "obj_id": 1, "edit": 1}).json()["error"]
    assert "not there any more" in visitor.post("unsay", {"frame_idx": 0, "obj_id": 1, "edit": 0, "point": 5}).json()["error"]  # fmt: skip
    visitor.post("unsay", {"frame_idx": 0, "obj_id": 1, "edit": 0, "point": 0})
    assert visitor.state()["things"] == {} and not visitor.results[0], "nothing is left of the object"
    visitor.post("undo")
    assert set(visitor.state()["things"]) == {"1"} and visitor.mask(0)[14:26, 8:20].all()


def test_brush_and_eraser_are_masks_that_stay_as_they_were_painted(visitor):
    visitor.click()
    wider = visitor.mask(0).copy()
    wider[30:40, 10:20] = True
    visitor.post("prompt", {"frame_idx": 0, "obj_id": 1, "mask": rle_encode(wider)})
    assert visitor.mask(0)[31:39, 11:19].mean() > 0.9
    visitor.post("unsay", {"frame_idx": 0, "obj_id": 1, "edit": 1})
    assert not visitor.mask(0)[31:39, 11:19].any(), "a painted mask is taken back whole"


def test_freshness_and_cuts_are_saved_and_old_projects_still_open(visitor, client, visits):
    visitor.click(2, at=(16, 20))
    track(visitor, until=9)
    visits.get(visitor.token).project.cuts = {5}
    visitor.post("export/project")
    archive = visitor.client.get(visitor.url(f"export/{visitor.wait()['work']['file']}")).content
    other = Visitor(client)
    other.post("video?name=p.zip", content=archive)
    said = other.wait()
    assert said["fresh"] == {"1": [2, 9]} and said["cuts"] == [5] and said["stale_from"] == 10


def zipped(names) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for t, name in enumerate(names):
            archive.writestr(name, jpeg(t) if name.endswith(".jpg") else b"text")
    return data.getvalue()


def test_pictures_come_as_a_zip_in_the_order_in_which_people_count(client, visits):
    visitor = Visitor(client)
    names = ["f/1.jpg", "f/2.jpg", *(f"f/{n}.jpg" for n in range(3, 12)), "f/notes.txt", "__MACOSX/f/._1.jpg"]
    visitor.post("video?name=f", content=zipped(sorted(names[:11])[::-1] + names[11:]))
    said = visitor.wait()
    assert not said["work"]["error"] and said["video"]["count"] == 11
    visitor.click(0, at=(14, 20))
    visitor = Visitor(client)
    visitor.post("video?name=f", content=zipped(["notes.txt"]))
    assert "no picture in it" in visitor.wait()["work"]["error"]


def test_exports_of_numbers_read_no_frames(visitor, visits):
    visitor.click()
    track(visitor)

    def walked(i):
        raise AssertionError("a table has no picture")

    visits.get(visitor.token).project.frames = walked
    for kind in ("csv", "rle", "mot", "vos", "png"):
        visitor.post(f"export/{kind}")
        said = visitor.wait()
        assert not said["work"]["error"] and said["work"]["file"], kind


def test_the_example_and_a_given_file_are_opened_and_stay(clip, tmp_path):
    visits = Visits(Limits(frames=40))
    done = []
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), visits.limits, visits, hosts=HERE, given=Given(clip, done.append))  # fmt: skip
    client = TestClient(app)
    about = client.get("/api/about").json()
    assert about["given"] == "red square.mp4" and about["picking"] and about["example"]
    visitor = Visitor(client)
    assert "say what to track" in (visitor.post("given"), visitor.wait(), visitor.post("picked"))[2].json()["error"]
    visitor.click(3, at=(17, 20))
    visitor.post("objects/1", {"name": "square"})
    assert visitor.post("picked").status_code == 200 and clip.is_file()
    (prompt,) = prompts_of(done[0], (96, 128))
    assert prompt.frame_idx == 3 and prompt.label == "square" and np.allclose(prompt.points, [[34, 40]])
    assert visitor.post("example").status_code == 200
    assert visitor.wait()["video"]["name"] == "example.mp4"
    visits.close()
    with pytest.raises(Refused, match="does not exist"):
        Given(Path("nowhere.mp4"))


def test_every_policy_and_number_has_words_that_a_person_can_use():
    for kind, table in policies("nano").items():
        for name, said in table.items():
            assert 20 < len(said["about"]) <= 120, (kind, name)
            for field in said["fields"]:
                assert field["name"] in plain.NUMBERS and len(field["label"]) <= 36, (name, field["name"])


def test_the_page_has_our_name_and_icon_and_no_picture_from_elsewhere(client):
    answer = client.get("/")
    assert "<title>vidmem</title>" in answer.text or '"title":"vidmem"' in answer.text
    assert 'content="Gradio"' not in answer.text and "githubusercontent" not in answer.text.split("</head>")[0]
    assert '<meta property="og:title" content="vidmem">' in answer.text and int(answer.headers["content-length"]) == len(answer.content)  # fmt: skip
    assert client.get("/favicon.ico").headers["content-type"].startswith("image/svg")
    assert client.get("/manifest.json").json()["name"] == "vidmem"
    assert client.get("/static/icon.svg").status_code == client.get("/static/card.png").status_code == 200


def test_thumbnails_are_small(visitor):
    whole, small = (visitor.client.get(visitor.url(f"frames/3.jpg{how}")) for how in ("", "?small=true"))
    assert small.status_code == 200 and small.content[:2] == b"\xff\xd8" and whole.content != small.content


def test_a_checkout_runs_its_own_app():
    """A copy that was installed beside it is of another day."""
    from vidmem.cli.main import app_module

    assert app_module("limits").__file__ == str(Path(__file__).resolve().parents[1] / "app/limits.py")
