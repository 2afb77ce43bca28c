"""A visitor of the app, behind its routes."""

import contextlib
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from clips import encode as write_clip
from PIL import Image

pytest.importorskip("gradio", reason="the app needs gradio")
from fastapi.testclient import TestClient

from app import decode
from app.limits import Limits
from app.page import build
from app.visits import Visits
from tests.tab import COUNT, SIZE
from vidmem.catalogue.tracker import Tracker
from vidmem.errors import VidmemError
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.video import rle_decode

HERE = {"127.0.0.1", "testserver"}


def square(t: int, hidden=()) -> np.ndarray:
    """A red square that goes to the right; not there on hidden frames."""
    image = np.full((*SIZE, 3), 40, np.uint8)
    if t not in hidden:
        image[12:28, 6 + t : 22 + t] = (220, 30, 30)
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "red square.mp4"
    return write_clip(path, [square(t, hidden=(15, 16, 17)) for t in range(COUNT)])


@pytest.fixture
def visits():
    made = Visits(Limits(upload_mb=2, visitors=3, frames=200))
    yield made
    made.close()


@pytest.fixture
def client(visits):
    """The whole ASGI app, Gradio's page included."""
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), visits.limits, visits, hosts=HERE)
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


class Visitor:
    """Speaks for one browser tab."""

    def __init__(self, client, clip=None):
        self.client, self.token, self.revision = client, client.post("/api/visits").json()["token"], 0
        self.results: dict[int, dict] = {}
        if clip is not None:
            assert self.post("video?name=red.mp4", content=Path(clip).read_bytes()).status_code == 200
            assert not self.wait()["work"]["error"]

    def url(self, path):
        return f"/api/visits/{self.token}/{path}"

    def post(self, path, said=None, **how):
        return self.client.post(self.url(path), **({"json": said} if said is not None else {}), **how)

    def state(self):
        said = self.client.get(self.url(f"state?since={self.revision}")).json()
        self.revision = said.get("revision", 0)
        self.results |= {int(i): seen for i, seen in said.get("results", {}).items()}
        return said

    def wait(self):
        until = time.monotonic() + 60
        while (said := self.state())["busy"] and time.monotonic() < until:
            time.sleep(0.02)
        return self.state() | {"work": said["work"]}

    def click(self, frame_idx=0, obj_id=1, at=(14, 20), label=1):
        return self.post("prompt", {"frame_idx": frame_idx, "obj_id": obj_id, "points": [list(at)], "labels": [label]})

    def mask(self, frame_idx, obj_id=1):
        self.state()
        return rle_decode(self.results[frame_idx][str(obj_id)]["rle"])


def read_here(path, folder, limits, heard, stopped) -> str:
    """As `app.decode.decode`, without a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "say", lambda **what: heard(json.loads(json.dumps(what))))
        try:
            decode.read(path, folder, limits)
        except VidmemError as error:
            return str(error)
    return ""


@contextlib.contextmanager
def reading_here():
    """What is sent is read by this process, where that it is sent is not what a test is about: a process for each costs half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.visits.decode", read_here)
        yield


@pytest.fixture
def visitor(client, clip):
    with reading_here():
        return Visitor(client, clip)


def jpeg(t: int, size=SIZE) -> bytes:
    data = io.BytesIO()
    Image.fromarray(square(t)).resize(size[::-1]).save(data, "JPEG", quality=95)
    return data.getvalue()
