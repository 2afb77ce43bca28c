"""The app's page in Chromium, and hands: for the tests, and for the scripts that drive the app. Needs playwright."""

import shutil
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE, COUNT = (48, 64), 24  # of the tests' clip: (H, W) of its frames, and how many


def launch(playwright, *flags):
    return playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


class Tab:
    """A page with the app, and hands."""

    def __init__(self, browser, address, clip=None, size=(1280, 720), video=SIZE, count=COUNT):
        """size: of the window, (width, height). video, count: (H, W) of the video's frames, and how many it has."""
        self.video, self.count = video, count
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
        self.errors = []
        self.page.on("dialog", lambda dialog: dialog.accept())  # leaving asks, where it would cost something
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address, timeout=120_000)  # the first visitor waits until Gradio is imported
        self.page.wait_for_selector("[data-ready=yes]", state="attached", timeout=120_000)
        self.token = self.page.get_attribute("[data-ready=yes]", "data-token")
        if clip is not None:
            self.page.set_input_files("[data-id=file]", str(clip))
            self.page.wait_for_function(
                f"document.querySelector('[data-id=scrub]').max == {count - 1}", timeout=120_000
            )
            self.until(lambda: sum(self.pixel(2, 2)) > 60)  # the picture is there

    def place(self, x, y):
        """Source pixels -> pixels of the page."""
        box, (height, width) = self.page.locator("[data-id=canvas]").bounding_box(), self.video
        scale = min(box["width"] / width, box["height"] / height)
        left, top = (box["width"] - width * scale) / 2, (box["height"] - height * scale) / 2
        return box["x"] + left + x * scale, box["y"] + top + y * scale

    def pixel(self, x, y):
        """RGB that the canvas shows at source pixel (x, y)."""
        return self.page.evaluate("""([x, y]) => { const c = document.querySelector('[data-id=canvas]'), b = c.getBoundingClientRect(), r = c.width / b.width;
            return [...c.getContext('2d').getImageData((x - b.x) * r, (y - b.y) * r, 1, 1).data].slice(0, 3); }""", list(self.place(x, y)))  # fmt: skip

    def click(self, x, y, **how):
        self.page.mouse.click(*self.place(x, y), **how)

    def ask(self, x, y) -> int:
        """Click, and wait for the answer -> milliseconds from sending the prompt until the new mask was drawn, as the page measures it."""
        answered = "+(document.querySelector('[data-answered]')?.dataset.answered || 0)"
        before = self.page.evaluate(answered)
        self.click(x, y)
        self.page.wait_for_function(f"{answered} > {before}", timeout=60_000)
        return int(self.page.evaluate("+document.querySelector('[data-answer]').dataset.answer"))

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
        self.until(lambda: not visit.busy and visit.project.fresh_until == self.count - 1)
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
