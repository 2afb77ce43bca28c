"""The page in a real browser: Debian's Chromium, driven by playwright. Masks are looked for in the canvas's own pixels."""

import contextlib
import shutil
import socket
import threading
import time

import pytest
from clips import encode as write_clip

from tests.visitors import COUNT, SIZE, square

pytest.importorskip("gradio", reason="the app needs gradio")
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

import vidmem  # noqa: E402
from app.limits import Limits  # noqa: E402
from app.page import build  # noqa: E402
from app.visits import Visits  # noqa: E402
from vidmem.catalogue.tracker import Tracker  # noqa: E402
from vidmem.memory import Recent  # noqa: E402
from vidmem.networks.fake import FakeNetwork  # noqa: E402
from vidmem.search import Greedy  # noqa: E402

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@contextlib.contextmanager
def serving(network):
    """(address, visits) of a running app."""
    import uvicorn

    visits = Visits(Limits(visitors=40))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = build(Tracker(network, Recent(), Greedy()), visits.limits, visits, hosts={"127.0.0.1"})
    running = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not running.started and time.monotonic() < until:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}", visits
    running.should_exit = True
    thread.join(10)
    visits.close()


@pytest.fixture(scope="module")
def server():
    with serving(FakeNetwork(tolerance=90.0)) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(
        tmp_path_factory.mktemp("clip") / "red.mp4", [square(t, hidden=(15, 16, 17)) for t in range(COUNT)]
    )


class Tab:
    """A page with the app, and hands."""

    def __init__(self, browser, address, clip=None, size=(1280, 720)):
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
        self.errors = []
        self.page.on("dialog", lambda dialog: dialog.accept())  # leaving asks, where it would cost something
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("[data-ready=yes]", state="attached", timeout=30_000)
        self.token = self.page.get_attribute("[data-ready=yes]", "data-token")
        if clip is not None:
            self.page.set_input_files("[data-id=file]", str(clip))
            self.page.wait_for_function(f"document.querySelector('[data-id=scrub]').max == {COUNT - 1}", timeout=30_000)
            self.until(lambda: sum(self.pixel(2, 2)) > 60)  # the picture is there

    def place(self, x, y):
        """Source pixels -> pixels of the page."""
        box = self.page.locator("[data-id=canvas]").bounding_box()
        scale = min(box["width"] / SIZE[1], box["height"] / SIZE[0])
        return box["x"] + (box["width"] - SIZE[1] * scale) / 2 + x * scale, box["y"] + (
            box["height"] - SIZE[0] * scale
        ) / 2 + y * scale

    def pixel(self, x, y):
        """RGB that the canvas shows at source pixel (x, y)."""
        return self.page.evaluate("""([x, y]) => { const c = document.querySelector('[data-id=canvas]'), b = c.getBoundingClientRect(), r = c.width / b.width;
            return [...c.getContext('2d').getImageData((x - b.x) * r, (y - b.y) * r, 1, 1).data].slice(0, 3); }""", list(self.place(x, y)))  # fmt: skip

    def click(self, x, y, **how):
        self.page.mouse.click(*self.place(x, y), **how)

    def until(self, what, seconds=10):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, (
                f"not within {seconds} s; errors: {self.errors}; said: {self.page.inner_text('[data-id=message]')}"
            )
            time.sleep(0.05)

    def press(self, name):
        self.page.click(f"[data-id={name}]")

    def tracked(self, visits):
        """All of it, with the last edit, and shown."""
        visit = visits.get(self.token)
        self.until(lambda: not visit.busy and visit.project.fresh_until == COUNT - 1)
        self.until(
            lambda: (
                self.page.inner_text("[data-id=work]") == ""
                and self.page.evaluate("document.querySelector('[data-id=cancel]').hidden")
            )
        )

    def go(self, frame):
        self.page.evaluate(
            "(f) => { const s = document.querySelector('[data-id=scrub]'); s.value = f; s.dispatchEvent(new Event('input')); }",
            frame,
        )
        self.until(lambda: self.page.inner_text("[data-id=at]").startswith(f"frame {frame} "))

    def masked(self, x, y):
        """The red square is shown tinted: the first object's colour is cyan."""
        r, g, b = self.pixel(x, y)
        return g > 80 and b > 80


@pytest.fixture
def tab(server, browser, clip):
    made = Tab(browser, server[0], clip)
    yield made
    made.page.close()
    assert made.errors == []


def test_click_track_play_correct_and_take_home(server, tab, tmp_path):
    assert not tab.masked(14, 20)
    tab.click(14, 20)
    tab.until(lambda: tab.masked(10, 16) and tab.masked(18, 24))
    assert not tab.masked(40, 20)
    tab.press("track")
    tab.page.wait_for_function("document.querySelectorAll('[data-obj]').length == 1")
    tab.tracked(server[1])
    tab.go(10)
    tab.until(lambda: tab.masked(20, 20) and not tab.masked(8, 20))
    tab.go(16)
    tab.until(lambda: "occluded" in tab.page.inner_text("[data-id=objects]"))
    tab.go(18)
    tab.press("play")
    tab.until(lambda: tab.page.inner_text("[data-id=at]").startswith(f"frame {COUNT - 1} "))
    tab.until(lambda: tab.masked(36, 20))
    tab.go(12)
    tab.click(60, 44, button="right")
    tab.until(lambda: "nothing of object 1 here" in tab.page.inner_text("[data-id=message]"))
    assert server[1].get(tab.token).project.fresh_until == COUNT - 1, "which said nothing"
    tab.click(30, 24)
    tab.until(lambda: server[1].get(tab.token).project.fresh_until == 12)
    tab.press("track")
    tab.tracked(server[1])
    tab.page.select_option("[data-id=export]", "overlay")
    with tab.page.expect_download() as download:
        tab.press("take")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with vidmem.open_video(path) as video:
        frames = [frame.image for frame in video]
    assert len(frames) == COUNT and path.name == "red-overlay.mp4"
    r, g, b = frames[5][20, 18].astype(int)
    assert g > 60 and b > 60, "the mask is drawn in the file"


def test_box_brush_second_object_undo_and_redo(tab):
    tab.page.keyboard.press("b")
    tab.page.mouse.move(*tab.place(4, 10))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.place(24, 30), steps=4)
    tab.page.mouse.up()
    tab.until(lambda: tab.masked(14, 20))
    tab.page.keyboard.press("n")
    tab.page.keyboard.press("m")
    tab.page.mouse.move(*tab.place(44, 36))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.place(58, 36), steps=5)
    tab.page.mouse.up()
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 2)
    tab.page.mouse.move(5, 5)
    tinted = tab.pixel(50, 36)
    assert max(tinted) - min(tinted) > 40, "the painted stroke is shown in a colour of its own on the grey ground"
    tab.page.keyboard.press("Control+z")
    tab.until(
        lambda: tab.page.locator("[data-obj]").count() == 1 and max(tab.pixel(50, 36)) - min(tab.pixel(50, 36)) < 20
    )
    tab.page.keyboard.press("Control+y")
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 2)
    tab.page.locator("[data-obj='1'] button", has_text="hide").click()
    tab.until(lambda: not tab.masked(14, 20))


def test_another_video_replaces_the_first_and_a_bad_file_does_not(tab, tmp_path):
    tab.click(14, 20)
    tab.until(lambda: tab.masked(14, 20))
    (tmp_path / "bad.mp4").write_text("no video")
    tab.page.set_input_files("[data-id=file]", str(tmp_path / "bad.mp4"))
    tab.until(lambda: "no video that the app takes" in tab.page.inner_text("[data-id=message]"))
    tab.until(lambda: tab.masked(14, 20) and tab.page.locator("[data-obj]").count() == 1)
    blue = write_clip(tmp_path / "blue.mp4", [square(0)[..., ::-1].copy()] * 4)
    tab.page.set_input_files("[data-id=file]", str(blue))
    tab.page.wait_for_function("document.querySelector('[data-id=scrub]').max == 3", timeout=30_000)
    tab.until(lambda: tab.pixel(14, 20)[2] > 150 and tab.pixel(14, 20)[0] < 80)
    assert tab.page.inner_text(".vm-name") == "blue.mp4" and tab.page.locator("[data-obj]").count() == 0


def test_zoom_and_pan_keep_clicks_where_they_point(tab):
    x, y = tab.place(14, 20)
    tab.page.mouse.move(x, y)
    tab.page.mouse.wheel(0, -600)
    tab.page.mouse.click(x, y)  # the spot under the pointer stays there
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
    tab.page.keyboard.press("0")
    tab.until(lambda: tab.masked(9, 15) and tab.masked(19, 25) and not tab.masked(30, 20))


def test_the_memory_panel_and_its_controls(server, tab):
    tab.click(14, 20)
    tab.until(lambda: tab.page.locator("[data-id=memory] figure").count() == 1)
    assert "you prompted it" in tab.page.get_attribute("[data-id=memory] figure", "title")
    tab.page.click("[data-id=advanced] > summary")
    tab.page.select_option("[data-id=bank]", "confident")
    tab.page.click("[data-id=advanced] details summary")
    tab.page.fill("[data-id=bank-numbers] [data-name=slots]", "4")
    assert "surely right" in tab.page.inner_text("[data-id=bank-about]")
    tab.press("apply")
    tab.tracked(server[1])
    tab.until(lambda: tab.page.locator("[data-id=memory] figure").count() > 1)
    tab.page.fill("[data-id=bank-numbers] [data-name=slots]", "1")
    tab.press("apply")
    tab.until(lambda: "slots=1" in tab.page.inner_text("[data-id=message]"))


def test_keys_are_listed_and_a_tablet_sees_everything(server, browser, clip):
    tab = Tab(browser, server[0], clip, size=(1024, 768))
    tab.page.keyboard.press("?")
    assert tab.page.is_visible("dialog") and "Ctrl Z" in tab.page.inner_text("dialog")
    tab.page.keyboard.press("Escape")
    for name in ("track", "play", "lost", "take", "scrub", "canvas", "undo", "add"):
        box = tab.page.locator(f"[data-id={name}]").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 1024 and box["y"] + box["height"] <= 768, name
    tab.page.close()


def test_a_camera_shows_masks_and_its_latency(server, browser):
    tab = Tab(browser, server[0])
    with contextlib.closing(tab.page):
        tab.press("live")
        tab.until(
            lambda: int(tab.page.evaluate("document.querySelector('[data-live]')?.dataset.live || 0")) > 3, seconds=40
        )
        assert "ms late" in tab.page.inner_text("[data-id=work]")
        box = tab.page.locator("[data-id=canvas]").bounding_box()
        tab.page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
        tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
        seen = int(tab.page.get_attribute("[data-live]", "data-live"))
        tab.until(lambda: int(tab.page.get_attribute("[data-live]", "data-live")) > seen + 5)
        assert server[1].get(tab.token).watching
        tab.press("live")
        tab.until(lambda: not server[1].get(tab.token).watching)
        assert tab.errors == []


def test_a_closed_tab_keeps_its_work_or_frees_its_visit_and_two_visitors_do_not_meet(server, browser, clip):
    address, visits = server
    one, other, idle = Tab(browser, address, clip), Tab(browser, address, clip), Tab(browser, address)
    one.click(14, 20)
    one.until(lambda: one.masked(14, 20))
    assert other.page.locator("[data-obj]").count() == 0 and not other.masked(14, 20) and one.token != other.token
    folder = visits.get(idle.token).folder
    idle.page.close(run_before_unload=True)
    other.until(lambda: idle.token not in visits._visits and not folder.exists())
    one.page.close(run_before_unload=True)
    other.until(lambda: visits._visits[one.token].away is not None)
    assert visits._visits[one.token].project.edits, "what was done is there for a while"
    other.click(14, 20)
    other.until(lambda: other.masked(14, 20))
    other.page.close(run_before_unload=True)
