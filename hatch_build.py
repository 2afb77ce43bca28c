"""What a wheel holds beside the package. An editable install maps `vidmem` alone, and finds the rest in the checkout."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BESIDE = {
    "models": "vidmem/models",
    "app": "vidmem_app",
    "assets/demo.mp4": "vidmem/assets/demo.mp4",  # the gate's own clips
    "assets/demo_masks.npz": "vidmem/assets/demo_masks.npz",
}


class WheelContents(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        if version == "standard":  # and not "editable", which would copy them, to be taken for the ones that are edited
            build_data["force_include"].update(BESIDE)
