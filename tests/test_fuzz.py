"""A short run of the fuzzers in `scripts/`; their long runs are `python scripts/fuzz_*.py`."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import fuzz_files  # noqa: E402
import fuzz_session  # noqa: E402


@pytest.mark.parametrize("network, sequences", [("fake", 50), ("nano", 4)])
def test_random_calls_leave_no_trace_where_they_fail(network, sequences):
    if network == "nano" and not (ROOT / "models/nano/encode.onnx").is_file():
        pytest.skip("no nano weights")
    said = fuzz_session.fuzz(network, sequences, seed=7)
    assert said["bad"] == 0 and said["sequences"] >= sequences and said["calls"] > 10 * sequences
    if network == "fake":  # few sequences need not meet every kind of error
        assert set(said["refused"]) == {"Broken", "PromptError", "FrameError", "ObjectError"}


def test_the_fuzzer_finds_a_session_that_does_not_go_back(monkeypatch, capsys):
    from contextlib import contextmanager

    from vidmem.session import Session

    @contextmanager
    def forgetful(self):
        yield self.snapshot()

    monkeypatch.setattr(Session, "_all_or_nothing", forgetful)
    assert fuzz_session.fuzz("fake", 100, seed=7, shrink=False)["bad"] == 1
    said = capsys.readouterr().out
    assert "the twin" in said and "state.begin(" in said, "the calls that lead to it are printed"


def test_the_fuzzer_finds_a_prompt_that_is_not_copied(monkeypatch, capsys):
    from vidmem.session import session

    kept = session.make_prompt

    def aliased(points, labels, box, mask):
        prompt = kept(points, labels, box, mask)
        return dataclasses.replace(prompt, points=points) if isinstance(points, np.ndarray) else prompt

    monkeypatch.setattr(session, "make_prompt", aliased)
    assert fuzz_session.fuzz("fake", 100, seed=7, shrink=False)["bad"] == 1
    assert "the twin" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured by Linux's /proc")
def test_damaged_files_are_read_or_refused():
    said = fuzz_files.fuzz(250, seed=7)
    assert (
        said["bad"] == []
        and said["ends"].keys() <= {"read", "refused"}
        and said["most_mb"] < fuzz_files.MOST_MB
        and said["longest_s"] < fuzz_files.PATIENCE
    )


def test_a_track_that_is_killed_and_run_again_gives_what_an_undisturbed_one_gives(tmp_path):
    import random

    import kill_runs

    said = kill_runs.killed_tracks(tmp_path, 1, random.Random(7), frames=24)
    assert said == {"kills": 1, "half_written": [], "lost": [], "left_behind": [], "different": []}
