"""The app on a full disk, and what its log holds when somebody is rude: an answer in words, and no more lines than one reads."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import errno
import logging
import logging.config
import sys

import pytest

pytest.importorskip("gradio", reason="the app needs gradio")
from nowrite import unwritable
from starlette.requests import ClientDisconnect

from app import log, roots, server
from app.limits import Refused
from tests.visitors import Visitor, client, clip, visitor, visits  # noqa: F401

resource = pytest.importorskip("resource")


@pytest.fixture
def no_room():
    """The system takes no file of more than 500 bytes, as a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def begin():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))

    yield begin
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("kind", ["project", "overlay", "png", "rle", "rgba"])
def test_an_export_without_room_says_so_and_leaves_nothing_to_take(kind, visitor, visits, no_room):
    visitor.click()
    visitor.post("track", {"from": 0})
    visitor.wait()
    no_room()
    assert visitor.post(f"export/{kind}").status_code == 200
    work = visitor.wait()["work"]
    folder = visits.get(visitor.token).folder
    assert work["error"].startswith("the export cannot be written here ("), work
    assert not (folder / "export").exists() and str(folder) not in work["error"]


def test_an_export_that_worked_is_there_after_one_that_did_not(visitor, visits):
    visitor.click()
    visitor.post("track", {"from": 0})
    visitor.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        visitor.post("export/project")
        assert visitor.wait()["work"]["error"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    visitor.post("export/project")
    work = visitor.wait()["work"]
    assert not work["error"] and visitor.client.get(visitor.url(f"export/{work['file']}")).status_code == 200


def test_an_upload_without_room_is_answered_and_leaves_nothing(client, visits, no_room):
    visitor = Visitor(client)
    no_room()
    answer = visitor.post("video", content=b"x" * 100_000)
    assert answer.status_code == 507 and "no room left (File too large); try again later" in answer.json()["error"]
    assert list(visits.get(visitor.token).folder.iterdir()) == [] and not visitor.state()["busy"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permissions as on Linux")
def test_an_app_without_a_temporary_folder_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(roots.tempfile, "tempdir", str(tmp_path))
    with unwritable(tmp_path), pytest.raises(Refused, match=r"can be written \(Permission denied\); free some space"):
        roots.Root()


def test_a_request_that_is_broken_off_is_no_error_of_ours():
    class Gone:
        headers = {}

        async def stream(self):
            yield b"abc"
            raise ClientDisconnect

    async def read():
        return [piece async for piece in server.received(Gone(), 100, 5, "too much")]

    with pytest.raises(Refused, match="broken off after 3 bytes"):
        server.asyncio.run(read())


def test_other_errors_of_the_system_are_still_ours(client, visits, monkeypatch):
    def broken(self):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr("app.visits.Visit.uploading", broken)
    answer = Visitor(client).post("video", content=b"x")
    assert answer.status_code == 500 and "internal error" in answer.json()["error"]


# The log


def said(count: int, line: int = 1, text: str = "Invalid request from %s", name: str = "uvicorn.error"):
    return [logging.LogRecord(name, logging.WARNING, "h11.py", line, text, (n,), None) for n in range(count)]


def test_so_many_lines_of_a_kind_and_then_how_many_more(monkeypatch):
    few, now = log.Few(), [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    assert sum(map(few.filter, said(1000))) == log.MOST
    assert sum(map(few.filter, said(3, line=2))) == 3, "another kind has its own number"
    now[0] += log.SECONDS
    (first, second) = said(2)
    assert few.filter(first) and few.filter(second)
    assert first.getMessage() == "Invalid request from 0 (995 more of this kind were left out)"
    assert second.getMessage() == "Invalid request from 1"
    now[0] += 10 * log.SECONDS
    (later,) = said(1)
    assert few.filter(later) and later.getMessage() == "Invalid request from 0", (
        "2 of 5 were used: nothing was left out"
    )


def test_kinds_are_counted_in_bounded_memory():
    few = log.Few()
    for line in range(10 * log.KINDS):
        few.filter(*said(1, line=line))
    assert len(few._said) == log.KINDS


def test_the_server_is_started_with_that_log(monkeypatch, capsys):
    """All that the server and its sockets say goes through it; what it prints is put back for the other tests."""
    import uvicorn

    from app import page

    started = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: started.append(self.config))
    monkeypatch.setattr(page, "build", lambda *given: None)
    page.serve(None, server.Limits(), port=0)
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    try:
        logging.config.dictConfig(started[0].log_config)
        for _ in range(50):
            logging.getLogger("uvicorn.error").warning("rude")
            logging.getLogger("websockets.server").error("rude too")
    finally:
        root.handlers[:], root.level = before
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.endswith("rude")]) == log.MOST
    assert len([line for line in lines if line.endswith("rude too")]) == log.MOST
