"""What a visitor of the app says has bounds, and projects are checked as prompts are: before anything is made of it."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import io
import json
import math
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from app import limits, server
from app.limits import Limits, Refused
from app.requests import arguments, configured
from tests.visitors import COUNT, HERE, SIZE, Visitor, client, clip, jpeg, reading_here, visitor, visits  # noqa: F401
from vidmem.memory import BANKS
from vidmem.search import SEARCHES, Tree


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
    tracemalloc.start()
    try:
        with pytest.raises(Exception, match=message) as refused:
            arguments(prompt, SIZE)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1 << 20 and isinstance(refused.value, limits.UserError)


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


def test_odd_settings_are_answered(visitor):
    for said in (
        {"bank": ["x"]},
        {"search": {}},
        {"bank": "recent", "bank_numbers": [1]},
        {"search": "none"},
        {"bank": "\ud800"},
    ):
        assert visitor.post("settings", content=json.dumps(said)).status_code == 400, said


def test_an_answer_holds_so_many_masks_and_no_painted_ones(visitor, monkeypatch):
    monkeypatch.setattr("app.told.CHANGED_BYTES", 20)
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
    assert "does not fit" in error(put(*seen, "status", value="gone"))
    with reading_here():
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
        assert error(put("things", value=[]))
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
