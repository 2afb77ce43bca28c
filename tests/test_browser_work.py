"""The page in a real browser: nothing is lost, brush and eraser, clicks taken back, what follows the tracking, small screens, and a picture of each state.

The pictures go to $VIDMEM_SHOTS when it names a folder, to be looked at.
"""

# ruff: noqa: F811  (fixtures are imported, and then named)
import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.shelf import Shelf
from tests.browsing import browser, clip, needs_chromium, running, tab  # noqa: F401
from tests.tab import Tab
from tests.visitors import COUNT, square
from vidmem.catalogue.tracker import Tracker
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that keeps projects: (address, visits)."""
    address, visits, end = running(Shelf(tmp_path_factory.mktemp("shelf"), 100))
    yield address, visits
    end()


def shot(tab, name):
    if folder := os.environ.get("VIDMEM_SHOTS"):
        time.sleep(0.4)
        tab.page.screenshot(path=Path(folder) / f"{name}.png")


def stroke(tab, start, end):
    tab.page.mouse.move(*tab.place(*start))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.place(*end), steps=5)
    tab.page.mouse.up()
    tab.page.mouse.move(5, 5)


def test_a_reload_loses_nothing(server, tab):
    tab.click(14, 20)
    tab.until(lambda: tab.masked(10, 16))
    tab.press("track")
    tab.tracked(server[1])
    tab.go(9)
    tab.page.reload()
    tab.page.wait_for_selector("[data-ready=yes]", state="attached", timeout=30_000)
    assert tab.page.get_attribute("[data-ready=yes]", "data-token") == tab.token
    tab.until(lambda: tab.page.inner_text("[data-id=at]").startswith("frame 9 "))
    tab.until(lambda: tab.masked(20, 20) and tab.page.locator("[data-obj]").count() == 1)
    assert tab.page.inner_text(".vm-name") == "red.mp4"


def test_what_was_worked_on_is_offered_when_the_page_is_opened_again(server, tab, browser):
    tab.click(14, 20)
    tab.until(lambda: tab.page.inner_text("[data-id=kept]") == "kept", seconds=40)
    tab.page.close(run_before_unload=True)
    tab.until(lambda: server[1]._visits[tab.token].away is not None)
    new = Tab(browser, server[0])
    new.until(lambda: new.page.locator("[data-id=recent] .vm-card").count() >= 1)
    shot(new, "offered")
    new.page.locator("[data-id=recent] .vm-card button").first.click()
    new.page.wait_for_function(f"document.querySelector('[data-id=scrub]').max == {COUNT - 1}", timeout=30_000)
    new.until(lambda: new.masked(10, 16) and new.page.locator("[data-obj]").count() == 1)
    new.press("projects")
    new.until(lambda: new.page.locator("[data-id=kept-list] .vm-card").count() >= 1)
    assert "red.mp4" in new.page.inner_text("[data-id=kept-list]")
    shot(new, "projects")
    new.page.close()


def test_leaving_asks_where_nothing_is_kept(browser, clip):
    address, _, end = running()
    try:
        tab = Tab(browser, address, clip)
        asked = []
        tab.page.on("dialog", lambda dialog: asked.append(dialog.type))
        tab.page.reload()
        tab.page.wait_for_selector("[data-ready=yes]", state="attached", timeout=30_000)
        assert asked == [], "nothing was said: nothing can be lost"
        tab.until(lambda: sum(tab.pixel(2, 2)) > 60)
        tab.click(14, 20)
        tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
        tab.page.reload()
        tab.page.wait_for_selector("[data-ready=yes]", state="attached", timeout=30_000)
        assert asked == ["beforeunload"]
        tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
        tab.page.close()
    finally:
        end()


def test_brush_adds_eraser_takes_and_keys_change_their_size(tab):
    tab.click(14, 20)
    tab.until(lambda: tab.masked(14, 20))
    before = tab.pixel(14, 36)
    tab.page.keyboard.press("m")
    for _ in range(3):
        tab.page.keyboard.press("]")
    stroke(tab, (10, 36), (18, 36))
    tab.until(lambda: max(abs(np.subtract(tab.pixel(14, 36), before))) > 40)
    assert tab.masked(14, 20) and tab.page.locator("[data-obj]").count() == 1, "added to what was there"
    shot(tab, "brush")
    tab.page.keyboard.press("e")
    tab.page.mouse.move(*tab.place(14, 20))
    tab.page.mouse.wheel(0, -300)
    stroke(tab, (10, 36), (18, 36))
    tab.until(lambda: max(abs(np.subtract(tab.pixel(14, 36), before))) < 15)
    assert tab.masked(14, 20)
    assert "painted" in tab.page.inner_text("[data-id=said]")


def test_a_click_shows_its_dot_at_once_and_is_taken_back_by_a_click_on_it(server, tab):
    visit = server[1].get(tab.token)
    with visit.project.turn:  # nobody answers meanwhile
        tab.click(14, 20)
        tab.until(lambda: tab.pixel(14, 20)[1] > 120 and tab.pixel(14, 20)[0] < 100)
        assert tab.page.locator("[data-obj]").count() == 0
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
    tab.click(19, 24)
    tab.until(lambda: tab.page.locator("[data-id=said] button").count() == 2)
    tab.page.mouse.move(*tab.place(19, 24))
    tab.until(lambda: "take this click back" in (tab.page.get_attribute("[data-id=canvas]", "title") or ""))
    tab.click(19, 24)
    tab.until(lambda: tab.page.locator("[data-id=said] button").count() == 1)
    tab.page.locator("[data-id=said] button").click()
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 0)


def test_the_picture_follows_the_tracking_and_rows_do_not_move(server, tab):
    tab.click(14, 20)
    tab.until(lambda: tab.masked(14, 20))
    top = tab.page.locator("[data-id=scrub]").bounding_box()["y"]
    tab.press("track")
    tab.tracked(server[1])
    tab.until(lambda: tab.page.inner_text("[data-id=at]").startswith(f"frame {COUNT - 1} "))
    tab.until(lambda: tab.page.inner_text("[data-id=memory-at]") == f"object 1, frame {COUNT - 1}")
    tab.go(6)
    tab.until(lambda: tab.page.inner_text("[data-id=memory-at]") == "object 1, frame 6")
    tab.page.keyboard.press("n")
    tab.click(50, 5)
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 2)
    assert tab.page.locator("[data-id=scrub]").bounding_box()["y"] == top
    assert tab.page.locator("[data-id=names] .vm-label").all_inner_texts() == ["object 1", "object 2"]
    assert "not up to date" in tab.page.inner_text("[data-id=stale]")
    shot(tab, "two_objects_stale")
    tab.press("track")
    tab.tracked(server[1])
    tab.until(lambda: tab.page.is_hidden("[data-id=stale]"))
    tab.page.select_option("[data-id=way]", "until")
    assert tab.page.is_visible("[data-id=until]")
    tab.go(0)
    tab.press("lost")
    tab.until(lambda: "nothing to check" in tab.page.inner_text("[data-id=message]"))
    project = server[1].get(tab.token).project
    project.results[5][1] = replace(project.results[5][1], score=0.3)
    project.cuts = {9}
    project.touch(5)
    tab.page.locator("[data-obj='1'] input").fill("square")
    tab.page.keyboard.press("Enter")  # anything that asks for what has changed
    tab.until(lambda: "square" in tab.page.inner_text("[data-id=names]"))
    tab.press("lost")
    tab.until(lambda: tab.page.inner_text("[data-id=at]").startswith("frame 5 "))
    assert "square is unsure (30%)" in tab.page.inner_text("[data-id=message]")
    shot(tab, "low_score_and_cut")


def test_pictures_are_opened_as_a_video_and_videos_wait_in_line(server, browser, clip, tmp_path):
    tab = Tab(browser, server[0])
    files = []
    for t in range(12):
        files.append(tmp_path / f"{t}.png")
        Image.fromarray(square(t)).save(files[-1])
    tab.page.set_input_files("[data-id=file]", [str(file) for file in files])
    tab.page.wait_for_function("document.querySelector('[data-id=scrub]').max == 11", timeout=30_000)
    assert tab.page.inner_text(".vm-name") == "12 pictures"
    tab.page.set_input_files("[data-id=file]", [str(clip), str(clip)])
    tab.page.wait_for_function(f"document.querySelector('[data-id=scrub]').max == {COUNT - 1}", timeout=30_000)
    tab.until(lambda: tab.page.inner_text("[data-id=next]") == "Next video (1)")
    tab.press("next")
    tab.until(lambda: tab.page.is_hidden("[data-id=next]"))
    tab.page.close()
    assert tab.errors == []


@pytest.mark.parametrize("size", [(390, 844), (820, 1180), (1280, 720)], ids=["phone", "tablet", "desktop"])
def test_every_control_can_be_reached_on_small_screens(server, browser, clip, size):
    tab = Tab(browser, server[0], clip, size=size)
    tab.click(14, 20)
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
    for name in ("canvas", "track", "play", "lost", "scrub", "bars", "undo", "add", "take", "export", "objects"):
        place = tab.page.locator(f"[data-id={name}]")
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= size[0] + 1, name
    wide = tab.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size[0], "nothing to scroll to at the side"
    tab.page.evaluate("document.querySelector('.vm').scrollTo(0, 0)")
    shot(tab, {390: "phone", 820: "tablet", 1280: "desktop"}[size[0]])
    tab.page.close()
    assert tab.errors == []


def test_the_empty_page_has_an_example_and_nothing_is_cut_off(server, browser, clip, monkeypatch):
    monkeypatch.setattr("app.server.example", lambda: clip)  # shorter than the app's own
    tab = Tab(browser, server[0])
    shot(tab, "empty")
    assert tab.page.is_visible("[data-id=example]") and tab.page.title() == "vidmem"
    tab.press("example")
    tab.page.wait_for_function(f"document.querySelector('[data-id=scrub]').max == {COUNT - 1}", timeout=60_000)
    tab.page.click("[data-id=advanced] > summary")
    cut = tab.page.evaluate("""() => [...document.querySelectorAll('.vm aside button, .vm aside label, .vm aside p, .vm nav button, .vm header button, .vm footer button')]
        .filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)""")
    assert cut == []
    shot(tab, "advanced")
    tab.page.close()
    assert tab.errors == []


def test_track_pick_waits_for_what_is_clicked(browser, clip):
    from app.pick import pick

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found, tracker = [], Tracker(FakeNetwork(tolerance=90.0), Recent(), Greedy(), model="nano")
    thread = threading.Thread(
        target=lambda: found.extend(pick(Path(clip), tracker, port=port, browse=False)), daemon=True
    )
    thread.start()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    tab = Tab(browser, f"http://127.0.0.1:{port}")
    tab.until(lambda: tab.page.evaluate("document.querySelector('[data-id=scrub]').max") == str(COUNT - 1))
    tab.until(lambda: sum(tab.pixel(2, 2)) > 60)
    tab.press("picked")
    tab.until(lambda: "say what to track" in tab.page.inner_text("[data-id=message]"))
    tab.click(14, 20)
    tab.until(lambda: tab.page.locator("[data-obj]").count() == 1)
    tab.press("picked")
    thread.join(20)
    (prompt,) = found
    assert prompt.obj_id == 1 and prompt.frame_idx == 0 and np.allclose(prompt.points, [[14, 20]], atol=1)
    tab.page.close()
