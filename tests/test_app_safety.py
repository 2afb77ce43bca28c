"""What a visitor of the app cannot do: read files, reach others, climb out of an archive, come from elsewhere, come without the password."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import base64
import io
import json
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient

from app.__main__ import main
from app.limits import Refused, check_host, parse_auth
from app.page import build
from tests.visitors import Visitor, client, clip, visitor, visits  # noqa: F401
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy

SECRET = "/etc/passwd"
TRAVERSALS = [
    "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/app.html",
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../../../etc/passwd", "/gradio_api/file=app/server.py", "/gradio_api/file/etc/passwd",
    "/file=/etc/passwd", "/file/etc/passwd", "/gradio_api/file=http://127.0.0.1:1/", "/gradio_api/proxy=http://127.0.0.1:1/", "/gradio_api/file=%2fetc%2fpasswd",
    "/gradio_api/file=//etc/passwd", "/gradio_api/file=C:/windows/win.ini", "/gradio_api/stream/..%2f..%2fetc", "/assets/../../../../etc/passwd",
    "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd", "/theme.css/..%2f..%2fetc%2fpasswd", "/static/fonts/..%2f..%2f..%2fetc%2fpasswd", "/custom_component/x/../../../etc/passwd",
    "/svelte/..%2f..%2f..%2f..%2fetc%2fpasswd", "/docs", "/openapi.json", "/monitoring", "/gradio_api/component_server",
]  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_file_of_the_server_can_be_read(client, path):
    answer = client.get(path)
    body = answer.content
    assert b"root:" not in body and b"def make_app" not in body and b"make_gradio" not in body, path
    assert answer.status_code != 200 or b"<!doctype html" in body[:200].lower(), (
        f"{path}: {answer.status_code} {body[:80]}"
    )


def test_exports_and_frames_are_reached_by_their_own_names_only(visitor, visits):
    visitor.click()
    visitor.post("export/csv")
    visitor.wait()
    folder = visits.get(visitor.token).folder
    (folder / "export/link").symlink_to(SECRET)
    for name in ("link", "..%2fframes%2f00000.jpg", "%2fetc%2fpasswd", "..", "upload"):
        assert visitor.client.get(visitor.url(f"export/{name}")).status_code in (404, 405), name
    for index in ("-1", "99999", "0%2f..", "../../x"):
        assert visitor.client.get(visitor.url(f"frames/{index}.jpg")).status_code in (404, 422, 405, 400), index


def test_an_archive_cannot_write_outside_nor_link_nor_swell(visitor, client, visits, tmp_path):
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "project.json", json.dumps({"version": 1, "video": {"fps": 5}, "things": {}, "edits": [], "results": {}})
        )
        archive.writestr("../../../../tmp/evil.jpg", b"x")
        archive.writestr("/tmp/evil.jpg", b"x")
        link = zipfile.ZipInfo("frames/00000.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    other = Visitor(client)
    other.post("video", content=evil.getvalue())
    said = other.wait()
    assert said["work"]["error"] and not Path("/tmp/evil.jpg").exists() and "root:" not in json.dumps(said)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.json", "{}")
        archive.writestr("frames/00000.jpg", bytes(20 << 20))
    other.post("video", content=bomb.getvalue())
    assert "larger than 2 MB" in other.wait()["work"]["error"]
    for said in (b"PK\x05\x06" + bytes(18), evil.getvalue()[:300]):
        other.post("video", content=said)
        assert other.wait()["work"]["error"]


def test_what_is_said_has_a_length_and_a_depth(visitor):
    for text, status in ((b"[" * 200_000, 400), (b'{"a": ' * 50_000, 400), (b" " * (5 << 20), 413), (b"", 400)):
        assert visitor.post("prompt", content=text).status_code == status


def test_two_visitors_do_not_see_each_other(client, clip):
    one, other = Visitor(client, clip), Visitor(client)
    one.click()
    assert one.token != other.token and len(one.token) >= 32
    assert (
        "load a video first" in other.post("prompt", {"frame_idx": 0, "obj_id": 1, "points": [[1, 1]]}).json()["error"]
    )
    assert other.client.get(other.url("frames/0.jpg")).status_code == 400 and other.state()["video"] == {}
    for token in ("", "x", "../" + one.token, one.token[:-1]):
        assert client.get(f"/api/visits/{token}/state").status_code in (404, 405)


def test_pages_elsewhere_and_other_names_get_nothing(client):
    assert client.post("/api/visits", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/visits", headers={"Origin": "null"}).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/api/visits", headers={"Origin": "http://testserver"}).status_code == 200
    answer = client.get("/api/about")
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "SAMEORIGIN"


def test_the_password_stands_before_everything(visits):
    app = build(Tracker(FakeNetwork(), Recent(), Greedy()), visits.limits, visits, auth=("ann", "long-enough"))
    closed = TestClient(app)
    good = {"Authorization": "Basic " + base64.b64encode(b"ann:long-enough").decode()}
    for path in ("/", "/api/about", "/static/app.js", "/gradio_api/info", "/config"):
        assert closed.get(path).status_code == 401, path
    for wrong in ("Basic x", "Basic " + base64.b64encode(b"ann:wrong").decode(), "Bearer long-enough"):
        assert closed.get("/", headers={"Authorization": wrong}).status_code == 401
    assert (
        closed.get("/api/about", headers=good).status_code == 200 and closed.get("/", headers=good).status_code == 200
    )


def test_the_server_is_not_opened_to_others_without_a_password(capsys):
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(Refused, match="give --auth"):
            check_host(host, None)
        assert check_host(host, ("ann", "long-enough")) == host
    assert [check_host(host, None) for host in ("127.0.0.1", "::1", "localhost")]
    assert parse_auth("ann:long:enough") == ("ann", "long:enough") and parse_auth(None) is None
    for text in ("ann", "ann:short", ":long-enough"):
        with pytest.raises(Refused, match="NAME:PASSWORD"):
            parse_auth(text)
    assert main(["--host", "0.0.0.0"]) == 2 and "give --auth" in capsys.readouterr().err


def test_nothing_is_sent_anywhere_and_no_history_is_kept(client):
    page = client.get("/").text
    assert '"analytics_enabled":false' in page.replace(" ", "")
    assert "google-analytics" not in page and "huggingface.co/analytics" not in page
