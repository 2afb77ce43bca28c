"""The text field in a real browser: where words are seen, candidates on the picture, and a model's own words."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import numpy as np
import pytest

from tests.browsing import browser, clip, needs_chromium, running, tab  # noqa: F401
from tests.tab import Tab
from vidmem.detect.base import Find
from vidmem.detect.words.detector import WordDetector
from vidmem.installed import models_folder
from vidmem.networks.fake import FakeNetwork

pytestmark = needs_chromium
FINDS = [
    Find(1, 0.8, np.array([4, 10, 26, 30], np.float32), parts={"word": 0.84, "red": 0.95}),
    Find(1, 0.4, np.array([40, 8, 60, 40], np.float32), parts={"word": 0.4, "red": 1.0}),
]


@pytest.fixture(scope="module")
def server():
    address, visits, end = running()
    yield address, visits
    end()


def say(tab, text):
    tab.page.fill("[data-id=text]", text)
    tab.page.press("[data-id=text]", "Enter")
    tab.until(lambda: tab.page.locator("[data-id=chips] .vm-chip").count() > 0)


@pytest.mark.skipif(not (models_folder() / "words/look.onnx").is_file(), reason="no weights of words")
def test_a_word_shows_where_it_is_seen_and_a_click_on_a_box_accepts_it(tab, server, monkeypatch):
    hot = np.zeros((6, 8))
    hot[:, 6:] = 1
    monkeypatch.setattr(WordDetector, "explain", lambda self, frame, phrase, view: (FINDS, [hot, None]))
    say(tab, "red thing")
    assert tab.page.locator("[data-id=chips] .vm-chip").all_inner_texts() == ["red", "thing"]
    texts = tab.page.locator("[data-id=finds] button").all_inner_texts()
    assert len(texts) == 2 and "80 %" in texts[0] and "word" in texts[0] and "red" in texts[0]
    tab.until(lambda: sum(tab.pixel(50, 8)) > 300)  # the second one's box
    there, elsewhere = tab.pixel(62, 46), tab.pixel(34, 44)
    tab.page.hover(".vm-chip.warm")
    tab.until(lambda: sum(tab.pixel(34, 44)) < 0.5 * sum(elsewhere) and sum(tab.pixel(62, 46)) > 0.9 * sum(there))
    tab.page.mouse.move(5, 5)
    tab.until(lambda: tab.pixel(34, 44) == elsewhere)
    tab.click(14, 20)
    tab.until(lambda: tab.page.locator("[data-obj='1'] input").count() == 1)
    tab.until(lambda: tab.page.input_value("[data-obj='1'] input") == "red thing")
    assert tab.page.locator("[data-id=finds] button").count() == 0 and tab.pixel(14, 20)[0] > 60
    edits = server[1].get(tab.token).project.edits
    assert [e.prompt["box"] for e in edits] == [[4, 10, 26, 30]]
    finds = tab.page.locator("[data-id=finds] button")
    say(tab, "red thing")
    tab.until(lambda: finds.count() == 2)
    tab.page.press("[data-id=text]", "Escape")
    tab.until(lambda: finds.count() == 0)
    say(tab, "red thing")
    tab.until(lambda: finds.count() == 2)
    tab.page.locator("[data-id=forth]").click()
    tab.until(lambda: finds.count() == 0)  # they belonged to another frame


def test_a_model_that_reads_words_is_told_them_at_once(browser, clip):
    address, visits, end = running(network=FakeNetwork(tolerance=90.0, reads_words=True))
    tab = Tab(browser, address, clip)
    try:
        say(tab, "red")
        tab.until(lambda: tab.page.locator("[data-obj='1'] input").count() == 1)
        tab.until(lambda: tab.page.input_value("[data-obj='1'] input") == "red")
        tab.until(lambda: "named red" in tab.page.inner_text("[data-id=said]"))
        assert visits.get(tab.token).project.edits[0].prompt["text"] == "red" and tab.errors == []
    finally:
        tab.page.close()
        end()
