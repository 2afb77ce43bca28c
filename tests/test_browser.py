"""The page in a real browser: Debian's Chromium, driven by playwright. Masks are looked for in the canvas's own pixels."""

# ruff: noqa: F811  (fixtures are imported, and then named)
import contextlib

import pytest
from clips import encode as write_clip

import vidmem
from tests.browsing import browser, clip, needs_chromium, running, tab  # noqa: F401
from tests.tab import Tab
from tests.visitors import COUNT, square

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server():
    """(address, visits) of a running app that keeps nothing."""
    address, visits, end = running()
    yield address, visits
    end()


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
