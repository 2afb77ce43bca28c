"""Imports point down only, as the architecture says; and `import vidmem` costs nothing but numpy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vidmem.catalogue.tracker import MODELS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vidmem"

# From the ground up; a module may import what stands on a lower line, and its own package.
LAYERS = [
    ["errors"],
    ["names"],
    ["render"],
    ["types", "bounds", "installed"],
    ["memory", "search", "learn", "prompts", "download", "engines"],
    ["networks"],
    ["session", "video"],
    ["detect"],
    ["catalogue"],
    ["pipeline", "live"],
    ["directions"],
    ["evaluation", "compat", "batch", "__init__"],
    ["cli"],
    ["__main__"],
]
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
STRANGERS = {"memory", "search", "learn", "networks", "engines"}  # they meet only in Session.step
MEETINGS = {("networks", "engines")}  # a network over an engine's graphs
CARDS = {"card.py", "family.py"}  # a card names the bank that suits its network
HOST = {
    "card.py",
    "network.py",
    "host.py",
    "graphs.py",
    "config.py",
    "eager.py",
    "recorded.py",
    "weights.py",
    "checkpoints.py",
}
"""Files of a family that run without torch, or import it when they are used."""
FILES = sorted(PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """vidmem.engines.onnx -> engines; vidmem -> __init__."""
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
            if path.name in CARDS:
                continue
            assert (here, part(module)) in MEETINGS, f"{here} and {part(module)} must not know each other"


def test_an_engine_knows_no_network_and_no_model():
    for path in FILES:
        if own(path) == "engines":
            words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            assert not words & MODELS.keys(), path


def test_a_model_is_named_by_its_own_family_alone():
    """No `if model == "nano"` anywhere: what differs stands on a card."""
    for path in [*FILES, *(ROOT / "app").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and own_family(path) is None:
                values = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                assert not {v for v in values if isinstance(v, str)} & MODELS.keys(), f"{path}:{node.lineno}"


def own_family(path: Path) -> str | None:
    return path.parent.name if path.parent.parent.name == "networks" else None


def test_training_stays_off_the_runtime_path():
    for path in FILES:
        if own(path) == "training":
            reached = {part(m) for m in imports(path) if m.split(".")[0] == "vidmem"}
            assert not reached & {"cli", "pipeline", "session", "catalogue", "__init__"}, path


def test_the_library_imports_nothing_from_the_checkout_around_it():
    for path in FILES:
        assert not {m.split(".")[0] for m in imports(path)} & {"app", "tests", "scripts", "models"}, path


def test_torch_is_imported_inside_functions_except_where_networks_are_written():
    for path in FILES:
        if own(path) == "training" or (path.parent.parent.name == "networks" and path.name not in HOST):
            continue
        top = {n.name if isinstance(i, ast.Import) else i.module or "" for i in ast.parse(path.read_text()).body
               if isinstance(i, (ast.Import, ast.ImportFrom)) for n in i.names}  # fmt: skip
        assert not {name.split(".")[0] for name in top} & {"torch", "onnxruntime", "safetensors"}, path


@pytest.mark.parametrize("module", ["vidmem", "vidmem.cli.main", "vidmem.networks.fake"])
def test_importing_loads_no_engine_and_no_codec(module):
    heavy = {"torch", "cv2", "av", "PIL", "tqdm", "onnxruntime", "safetensors", "supervision"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
