"""`vidmem track clip.mp4 --pick`: the app on that file, until somebody has clicked what is to be tracked."""

from __future__ import annotations

import contextlib
import sys
import webbrowser
from pathlib import Path

from vidmem.errors import PromptError
from vidmem.prompts import PromptAt
from vidmem.video import open_video

from .__main__ import server
from .given import Given, prompts_of
from .limits import Limits
from .project import Project


def pick(source: Path, tracker, model: str = "nano", port: int = 0, browse: bool = True) -> list[PromptAt]:
    """-> what was clicked, boxed and painted, in source pixels. browse: open a browser, where this machine has one. Raises `PromptError` when
    the app ended before anything was chosen."""
    prompts: list[PromptAt] = []
    running = []
    with open_video(source) as video:
        size = video.size

    def picked(project: Project) -> None:
        prompts.extend(prompts_of(project, size))
        running[0].should_exit = True

    def started(uvicorn, address: str) -> None:
        running.append(uvicorn)
        print(f"click on what to track at {address}, then press Done", file=sys.stderr, flush=True)
        if browse:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(address)

    server()(tracker, Limits(), port=port, model=model, given=Given(source, picked), started=started)
    if not prompts:
        raise PromptError("nothing was picked before the page was closed; click on an object, then press Done")
    return prompts
