"""What `pip install` brings works away from the checkout, and brings no more than it says."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pip(*arguments) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    if run.returncode and "hatchling" in run.stderr:
        pytest.skip("hatchling cannot be had here, and a wheel is not built without it")
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (path,) = folder.glob("vidmem-*.whl")
    return path


def test_a_wheel_holds_the_library_the_app_and_the_weights_and_nothing_of_the_training(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "vidmem/models/nano/encode.onnx",
        "vidmem_app/static/app.js",
        "vidmem/assets/demo.mp4",
        "vidmem/py.typed",
    ):
        assert needed in names, needed
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vidmem", "vidmem_app"}
    assert not [name for name in names if "training" in name]
    assert wheel.stat().st_size < 60e6


def test_an_editable_install_puts_vidmem_on_the_path_and_nothing_else_of_the_checkout(tmp_path):
    pytest.importorskip("editables")
    pip("install", "--quiet", "--no-deps", "--editable", ROOT, "--prefix", tmp_path, "--ignore-installed")
    (site,) = {path.parent for path in tmp_path.rglob("_editable_impl_vidmem.pth")}
    code = f"""
import site; site.addsitedir({str(site)!r})
from importlib.util import find_spec
for name in ("vidmem", "app", "models", "tests", "scripts", "assets", "vidmem_app"):
    spec = find_spec(name)
    print(name, spec and spec.origin)
"""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True)
    found = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    assert found.pop("vidmem") == str(ROOT / "vidmem/__init__.py"), run.stderr
    assert set(found.values()) == {"None"}, found


def test_an_installed_wheel_tracks_and_gates_without_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    pip("install", "--quiet", "--no-deps", "--target", site, wheel)
    settings = {**os.environ, "PYTHONPATH": str(site), "VIDMEM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def vidmem(*arguments) -> str:
        command = [sys.executable, "-m", "vidmem", *map(str, arguments)]
        run = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import vidmem; print(vidmem.__file__)"],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site), "the installed copy is not the one that is tested"
    clip = site / "vidmem/assets/demo.mp4"
    vidmem(
        "track",
        clip,
        "--box",
        "43,154,201,255",
        "--end",
        "4",
        "--threads",
        "1",
        "--save",
        "png",
        "--out",
        tmp_path / "out",
    )
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4
    assert "onnx fp32" in vidmem("gate", "nano", "--runtime", "onnx", "--threads", "1", "--frames", "2")
