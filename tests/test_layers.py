"""Imports point down only, as the architecture says; and `import vidmem` costs nothing but numpy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vidmem"

# From the ground up; a module may import what stands on a lower line, and its own package.
LAYERS = [
    ["errors"],
    ["types", "names", "bounds"],
    ["nn", "memory", "search", "render", "prompts"],
    ["weights"],
    ["download"],
    ["checkpoints"],
    ["runtime"],
    ["session", "video"],
    ["detect"],
    ["tracker"],
    ["pipeline"],
    ["evaluation", "machine", "compat", "bench", "batch", "__init__"],
    ["options"],
    ["engine_commands", "batch_command"],
    ["cli"],
    ["__main__"],
]
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
STRANGERS = {"memory", "search", "nn", "runtime"}  # they meet only in Session.step
MEETINGS = {("runtime", "nn")}  # a runtime computes a network
FILES = sorted(PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """vidmem.runtime.onnx -> runtime; vidmem -> __init__."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    """Every module a file imports, also inside functions, by its full name."""
    found = set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            if module == "vidmem":  # `from vidmem import cli` is a module, `from vidmem import load` the facade
                found |= {
                    f"vidmem.{a.name}" if (PACKAGE / a.name).exists() or (PACKAGE / f"{a.name}.py").exists() else module
                    for a in node.names
                }
            else:
                found.add(module)
    return found


def own(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def test_every_part_of_the_library_has_its_layer():
    assert {own(path) for path in FILES} - {"training"} == set(HEIGHT)


@pytest.mark.parametrize("path", [f for f in FILES if own(f) != "training"], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = own(path)
    for module in imports(path):
        if module.split(".")[0] != "vidmem" or part(module) == here:
            continue
        assert part(module) != "training", f"{here} imports {module}; only scripts and tests may"
        assert HEIGHT[part(module)] < HEIGHT[here], f"{here} imports {module}, which is not below it"
        if here in STRANGERS and part(module) in STRANGERS:
            assert (here, part(module)) in MEETINGS, f"{here} and {part(module)} must not know each other"


def test_training_stays_off_the_runtime_path():
    for path in FILES:
        if own(path) == "training":
            reached = {part(m) for m in imports(path) if m.split(".")[0] == "vidmem"}
            assert not reached & {"cli", "pipeline", "session", "runtime", "tracker", "__init__"}, path


def test_the_library_imports_nothing_from_the_checkout_around_it():
    for path in FILES:
        assert not {m.split(".")[0] for m in imports(path)} & {"app", "tests", "scripts", "models"}, path


def test_torch_is_imported_inside_functions_except_where_networks_are_written():
    for path in FILES:
        if own(path) in ("nn", "training"):
            continue
        top = {n.name if isinstance(i, ast.Import) else i.module or "" for i in ast.parse(path.read_text()).body
               if isinstance(i, (ast.Import, ast.ImportFrom)) for n in i.names}  # fmt: skip
        assert not {name.split(".")[0] for name in top} & {"torch", "onnxruntime", "safetensors"}, path


@pytest.mark.parametrize("module", ["vidmem", "vidmem.cli", "vidmem.runtime.fake"])
def test_importing_loads_no_engine_and_no_codec(module):
    heavy = {"torch", "cv2", "av", "PIL", "tqdm", "onnxruntime", "safetensors", "supervision"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
