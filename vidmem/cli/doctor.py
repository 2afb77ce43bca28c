"""`vidmem doctor`: what works on this machine, tried out."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from vidmem.engines import ENGINES
from vidmem.evaluation.machine import describe
from vidmem.installed import version

REQUIRED = {"numpy": "numpy", "cv2": "opencv-python-headless", "av": "av", "PIL": "pillow", "tqdm": "tqdm"}
OPTIONAL = {"torch": "torch", "supervision": "supervision"}


def doctor(args) -> int:
    from vidmem.cli.engines import doctor_tensorrt

    if args.tensorrt:
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
        for runtime in runtimes(Request(model)):  # those with fixed shapes have a check of their own
            try:
                tracker = load(model, runtime=runtime)
                with tracker.session() as session:
                    session.add(1, box=(16, 16, 48, 48))
                    session.step(np.zeros((64, 64, 3), np.uint8))
                say(f"ok       {model} runs on {runtime}")
                usable = True
            except Exception as error:  # the doctor reports whatever is wrong
                say(f"without  {model} on {runtime}: {error}")
    for line in gpu_engines():
        say(line)
    both = version("onnxruntime") and version("onnxruntime-gpu")
    if both:
        say("WRONG    onnxruntime and onnxruntime-gpu overwrite each other: pip uninstall both, then install one")
    say("a video can be tracked" if usable else "no runtime works: pip install openvino")
    return 0 if usable and not both else 1


def gpu_engines() -> list[str]:
    """A line for each engine that takes graphs of fixed shapes: what it would need here."""
    try:
        import torch

        sees = torch.cuda.is_available()
        card = f"a GPU: torch {torch.__version__} sees none"
    except ImportError:
        sees, card = False, "torch with CUDA, and a GPU"
    lines = []
    for name, engine in ENGINES.items():
        if engine.fixed:
            needs = [] if version(engine.package) else [f"pip install {engine.install or engine.package}"]
            needs += [] if sees else [card]
            export = f"vidmem export MODEL {engine.export} --out DIR; vidmem doctor --tensorrt DIR --runtime {name}"
            lines.append(
                f"without  {name}, which needs {'; '.join(needs)}"
                if needs
                else f"ok       {name} can be tried: {export}"
            )
    return lines
