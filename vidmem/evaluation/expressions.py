"""What the objects of a data set are called: `meta_expressions.json`, as Ref-YouTube-VOS and Ref-Endovis have it."""

from __future__ import annotations

from pathlib import Path

from vidmem.errors import PromptError
from vidmem.prompts import check_id, read_json

NAME = "meta_expressions.json"
EXPECTED = '{"videos": {"NAME": {"expressions": {"0": {"exp": "black dog", "obj_id": 1}}}}}'


def load_expressions(path: str | Path) -> dict[str, dict[int, str]]:
    """A file, or a folder that holds one -> name of a sequence -> obj_id -> text.

    Of several texts for one object the last counts, as in Ref-Endovis; one without `obj_id` means object 1. Raises `PromptError`.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    videos = read_json(path, f"{EXPECTED}").get("videos") if path.is_file() else None
    if not isinstance(videos, dict) or not videos:
        why = "holds no videos" if path.is_file() else "does not exist"
        raise PromptError(f"{path} {why}; expected {EXPECTED}")
    found: dict[str, dict[int, str]] = {}
    for name, video in videos.items():
        expressions = video.get("expressions") if isinstance(video, dict) else None
        if not isinstance(expressions, dict):
            raise PromptError(f"{path}: {name} has no expressions; expected {EXPECTED}")
        for key, item in expressions.items():
            text, obj_id = (item.get("exp"), item.get("obj_id", 1)) if isinstance(item, dict) else (None, 1)
            if not isinstance(text, str) or not str(obj_id).isdigit():
                raise PromptError(f"{path}: expression {key} of {name} is {str(item)[:60]}; expected exp and obj_id")
            found.setdefault(name, {})[check_id(int(obj_id))] = text
    return found
