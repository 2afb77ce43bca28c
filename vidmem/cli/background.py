"""After the first `vidmem track` on a machine: the gate, once, in the background, so that the next job has the fastest engine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from vidmem.catalogue.choose import Request, gated, verdict_key
from vidmem.catalogue.verdict import read_verdict
from vidmem.engines import ENGINES
from vidmem.installed import PACKAGE, cache_folder, version

LINE = "engines: trying in the background which one is the fastest here, once, about a minute (--no-gate, or VIDMEM_GATE=0: never)"


def wanted(args) -> list[dict[str, str]]:
    """What verdicts there are to be had that nobody has yet: keys. Empty where the engine was chosen by hand, and where there is no choice."""
    asked = Request(args.model)
    chosen = args.runtime != "auto" or args.device != "cpu" or args.precision or args.weights or not args.gate
    if chosen or os.environ.get("VIDMEM_GATE") == "0" or not asked.family.embedded:
        return []
    here = [pair for pair in gated(asked) if version(ENGINES[pair[0]].package)]
    keys = [verdict_key(asked, *pair) for pair in here]
    return [key for key in keys if read_verdict(key) is None] if len(keys) > 1 else []


def gate_once(args) -> subprocess.Popen | None:
    """Start `vidmem gate` as a process that outlives this one, and say so in one line. None: there was no reason to, it was begun before
    (for these versions, on this processor), or the cache cannot be written."""
    keys = wanted(args)
    if not keys:
        return None
    folder = cache_folder() / "gates"
    begun = folder / f"{hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:20]}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = begun.open("x")
    except OSError:
        return None
    gently = ["nice", "-n", "19"] if shutil.which("nice") else []
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log:
        process = subprocess.Popen(
            [*gently, sys.executable, "-m", "vidmem", "gate", args.model], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd=Path.home() if Path.home().is_dir() else None,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
    print(LINE)
    return process
