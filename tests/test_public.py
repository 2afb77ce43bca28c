"""What `vidmem` promises by name is there, and says what it is."""

import inspect

import pytest

import vidmem
from vidmem import errors


def test_names_are_sorted_and_each_stands_once():
    assert vidmem.__all__ == sorted(set(vidmem.__all__))


@pytest.mark.parametrize("name", vidmem.__all__)
def test_a_public_name_exists_and_has_a_docstring_of_its_own(name):
    thing = getattr(vidmem, name)
    doc = inspect.cleandoc(thing.__doc__ or "")
    assert doc and not doc.startswith(f"{name}("), f"{name} has only the signature that dataclass writes"


@pytest.mark.parametrize("cls", [vidmem.Session, vidmem.Tracker, vidmem.FrameResult, vidmem.Report])
def test_public_methods_of_the_main_classes_have_docstrings(cls):
    for name, thing in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property)) and name != "fps":
            assert (thing.fget if isinstance(thing, property) else thing).__doc__, f"{cls.__name__}.{name}"


def test_errors_are_one_tree_with_an_exit_code_each():
    kinds = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, Exception)]
    assert len(kinds) >= 8 and all(issubclass(e, vidmem.VidmemError) and e.__doc__ for e in kinds)
    assert {e.exit_code for e in kinds if issubclass(e, errors.UserError)} == {2}
    assert errors.RuntimeMissing.exit_code == errors.SessionClosed.exit_code == 1


def test_the_version_is_that_of_the_package():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert vidmem.__version__ == project["version"]
