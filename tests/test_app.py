"""What a visitor can do, behind the routes. The page itself is tested in a browser, in test_browser.py."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the app needs gradio")

import vidmem
from tests.visitors import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, square, visitor, visits  # noqa: F401
from vidmem.video import rle_encode


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
