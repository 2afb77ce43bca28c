"""`vidmem models` and `vidmem banks`: what there is, where it lies, and fetching it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping

from vidmem.bounds import MOST
from vidmem.errors import ModelError
from vidmem.installed import file_hash


def models(args) -> int:
    from vidmem.catalogue.tracker import MODELS
    from vidmem.learn import LEARNERS
    from vidmem.memory import BANKS
    from vidmem.search import SEARCHES

    if args.action:
        if not args.get:
            known = ", ".join(name for name, model in MODELS.items() if not model.embedded)
            raise ModelError(f"which one? vidmem models get NAME, one of: {known}")
        return get_model(args.get, args.sha256)
    for model in MODELS.values():
        path = model.family.path(model.name)
        files = path.glob("*.*") if path.is_dir() else [path] if path.is_file() else []
        size = sum(file.stat().st_size for file in files) / 1e6
        state = f"{path} ({size:.1f} MB)" if size else f"not here; {model.family.how_to_get(model.name)}"
        print(f"{model.name:18s} {model.about}\n{'':18s} {state}")
    for kind, table in (("bank", BANKS), ("search", SEARCHES), ("learner", LEARNERS)):
        for name, policy in table.items():
            numbers = ", ".join(f"{f.name}={f.default}" for f in dataclasses.fields(policy))
            print(f"{kind} {name:10s} {numbers or 'no numbers'}")
    return 0


def banks(args) -> int:
    """`vidmem banks`: a line for each bank, search and learner; with NAME what it does, and an option for each of its numbers."""
    from vidmem.catalogue.choose import pick
    from vidmem.learn import LEARNERS
    from vidmem.memory import BANKS
    from vidmem.search import SEARCHES

    tables: dict[str, Mapping[str, type]] = {"bank": BANKS, "search": SEARCHES, "learner": LEARNERS}
    if args.name is None:
        for kind, table in tables.items():
            for name, policy in table.items():
                print(f"{kind:7s} {name:15s} {(inspect.getdoc(policy) or '').partition(chr(10))[0]}")
        return 0
    policy = pick(
        {name: one for table in tables.values() for name, one in table.items()}, "bank, search or learner", args.name
    )
    kind = next(kind for kind, table in reversed(tables.items()) if args.name in table)
    print(inspect.getdoc(policy))
    for f in dataclasses.fields(policy):
        least, most = f.metadata.get("least"), f.metadata.get("most")
        bounds = [f"from {least}" if least is not None else "", f"to {most}" if most not in (None, MOST) else ""]
        words = f.metadata.get("choices")
        limits = f"one of {', '.join(words)}" if words else " ".join(filter(None, bounds))
        option = f"--{kind}-{f.name.replace('_', '-')}"
        print(f"  {option:24s} {f'default {f.default}':16s} {limits}".rstrip())
    print(f"vidmem track VIDEO --{kind} {args.name} ...")
    return 0


def get_model(name: str, sha256: str | None) -> int:
    """Download a checkpoint; what came of an interrupted download is continued."""
    from tqdm import tqdm

    from vidmem.catalogue.tracker import MODELS, pick
    from vidmem.download import fetch

    model = pick(MODELS, "model", name)
    if model.embedded:
        print(f"{name} comes with vidmem; there is nothing to fetch")
        return 0
    path = model.family.path(name)
    if path.exists():
        if sha256 and file_hash(path) != sha256.strip().lower():
            raise ModelError(
                f"{path} is here already with sha256 {file_hash(path)}, not {sha256}; delete it to fetch it again"
            )
        print(f"{path} is here already; delete it to fetch it again")
        return 0
    with tqdm(unit="B", unit_scale=True, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        record = fetch(model.family.url(name), path, progress, sha256)
    print(f"{path}: {record['bytes']} bytes, sha256 {record['sha256']}")
    return 0
