"""`vidmem doctor`: what works on this machine, tried out."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from vidmem.errors import ModelError
from vidmem.evaluation.machine import describe
from vidmem.installed import version

REQUIRED = {"numpy": "numpy", "cv2": "opencv-python-headless", "av": "av", "PIL": "pillow", "tqdm": "tqdm"}
OPTIONAL = {"torch": "torch", "supervision": "supervision"}


def doctor(args) -> int:
    from vidmem.cli.engines import doctor_tensorrt

    if args.tensorrt:
        if not args.weights:
            raise ModelError("--tensorrt DIR needs --weights FILE too: what was exported, to compare with")
        return doctor_tensorrt(args.tensorrt, args.weights, args.runtime)
    return check(print)


def check(say: Callable[[str], None]) -> int:
    """Say what works, line by line, by trying it; returns 0 when a video can be tracked, else 1."""
    import numpy as np

    from vidmem.catalogue.choose import Request, runtimes
    from vidmem.catalogue.tracker import MODELS, load

    here, usable = describe(), False
    say(
        f"vidmem {version('vidmem') or '(not installed, run from a checkout)'}, Python {here['python']}, {here['system']}"
    )
    say(f"{here['processor']}, {here['cores']} cores")
    for table, needed in ((REQUIRED, True), (OPTIONAL, False)):
        for module, package in table.items():
            try:
                importlib.import_module(module)
                say(f"ok       {module} {version(package) or version(module) or ''}")
            except ImportError as error:
                say(f"{'MISSING' if needed else 'without':8s} {module}: pip install {package} ({error})")
    for model in (name for name, card in MODELS.items() if card.embedded):
        for runtime in runtimes(Request(model)):  # TensorRT has a check of its own
            try:
                tracker = load(model, runtime=runtime)
                with tracker.session() as session:
                    session.add(1, box=(16, 16, 48, 48))
                    session.step(np.zeros((64, 64, 3), np.uint8))
                say(f"ok       {model} runs on {runtime}")
                usable = True
            except Exception as error:  # the doctor reports whatever is wrong
                say(f"without  {model} on {runtime}: {error}")
    both = version("onnxruntime") and version("onnxruntime-gpu")
    if both:
        say("WRONG    onnxruntime and onnxruntime-gpu overwrite each other: pip uninstall both, then install one")
    say("a video can be tracked" if usable else "no runtime works: pip install onnxruntime")
    return 0 if usable and not both else 1
