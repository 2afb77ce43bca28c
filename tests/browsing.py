"""The app in a real browser, as fixtures: Debian's Chromium, driven by playwright. A test's module has the fixture `server`: (address, visits)."""

import socket
import threading

import pytest
from clips import encode as write_clip

from tests.tab import CHROMIUM, Tab, launch
from tests.visitors import COUNT, square

pytest.importorskip("gradio", reason="the app needs gradio")
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

from app.limits import Limits  # noqa: E402
from app.page import build  # noqa: E402
from app.visits import Visits  # noqa: E402
from vidmem.catalogue.tracker import Tracker  # noqa: E402
from vidmem.memory import Recent  # noqa: E402
from vidmem.networks.fake import FakeNetwork  # noqa: E402
from vidmem.search import Greedy  # noqa: E402


def running(shelf=None):
    """-> address, visits, and what ends it. shelf: keeps projects."""
    import uvicorn

    visits = Visits(Limits(visitors=40), shelf)
    door = socket.create_server(("127.0.0.1", 0))
    app = build(Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy()), visits.limits, visits, hosts={"127.0.0.1"})
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([door],), daemon=True)
    thread.start()

    def end():
        server.should_exit = True
        thread.join(10)
        visits.close()

    return f"http://127.0.0.1:{door.getsockname()[1]}", visits, end


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = launch(playwright, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "red.mp4"
    return write_clip(path, [square(t, hidden=(15, 16, 17)) for t in range(COUNT)])


@pytest.fixture
def tab(server, browser, clip):
    made = Tab(browser, server[0], clip)
    yield made
    made.page.close()
    assert made.errors == []
