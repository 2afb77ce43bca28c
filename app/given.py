"""A file that the app was started with, and whoever waits for what is clicked on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidmem.prompts import PromptAt

from .limits import Refused
from .project import Project
from .requests import arguments


@dataclass(frozen=True)
class Given:
    """path: a video or a folder of images on this machine. picked: called with the project when its visitor is done with clicking."""

    path: Path
    picked: Callable[[Project], None] | None = None

    def __post_init__(self):
        if not self.path.exists():
            raise Refused(f"{self.path} does not exist; expected a video file, or a folder of images")


def prompts_of(project: Project, size: tuple[int, int]) -> list[PromptAt]:
    """What was clicked, on frames of `size` (H, W), which the app may have shrunk."""
    scale = size[1] / project.size[1]
    prompts = [(e, arguments(e.prompt, project.size)) for e in project.edits]
    return [
        PromptAt(e.obj_id, e.frame_idx, **prompt, label=named(project, e.obj_id)).scaled(scale) for e, prompt in prompts
    ]


def named(project: Project, obj_id: int) -> str | None:
    """What a person called it; None for the name that it had from the beginning."""
    name = project.things[obj_id].name
    return None if name == f"object {obj_id}" else name
