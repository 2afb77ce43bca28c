"""What an export says of itself: `manifest.json` beside the graphs."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from vidmem.errors import ModelError, UserError
from vidmem.installed import file_hash
from vidmem.names import check_name

FORMAT = 2
NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """model: name of `vidmem models`. size: pixels a side of the input (0: any). shape: (H, W) of the input where it follows the
    frames' and is fixed. objects, slots, pointers: of fixed shapes; objects None: rows, tokens and pointers are open."""

    model: str
    size: int
    precision: str
    opset: int
    objects: int | None
    slots: int
    pointers: int
    files: dict[str, str]  # name -> sha256
    versions: dict[str, str]
    shape: tuple[int, int] | None = None
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        (Path(folder) / NAME).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises `ModelError` for a manifest that is missing, damaged or of another format."""
        path = Path(folder) / NAME
        try:
            given = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read ({error}); expected what `vidmem export` writes") from error
        names = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(given, dict) or given.get("format") != FORMAT or set(given) != names:
            raise ModelError(f"{path} is of another version of vidmem; export the model again")
        if not isinstance(given["files"], dict):
            raise ModelError(f"{path} lists no files; export the model again")
        for name in given["files"]:
            try:
                check_name(name, f"a file in {path}")
            except UserError as error:
                raise ModelError(str(error)) from None
        shape = given["shape"]
        if shape is not None and (not isinstance(shape, list) or [type(side) for side in shape] != [int, int]):
            raise ModelError(f"{path} has the shape {str(shape)[:80]}; expected two numbers; export the model again")
        return cls(**given | {"shape": shape and tuple(shape)})

    def check(self, folder: Path) -> None:
        """Raises `ModelError` for a file that is missing or differs from what was exported."""
        for name, sha256 in self.files.items():
            path = Path(folder) / name
            if not path.is_file() or file_hash(path) != sha256:
                raise ModelError(
                    f"{path} is {'damaged' if path.is_file() else 'missing'}: its hash is not the manifest's; export the model again"
                )
