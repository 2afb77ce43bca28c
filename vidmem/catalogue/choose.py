"""From what was asked for to a network that runs: which engine, and on which grounds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from vidmem.catalogue.verdict import GateVerdict, gate_key, read_verdict
from vidmem.engines import ENGINES, EngineCard, Graphs
from vidmem.engines.manifest import NAME, Manifest
from vidmem.engines.openvino import INT8
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.installed import file_hash
from vidmem.networks import FAMILIES
from vidmem.networks.base import Network
from vidmem.networks.family import Family

RUNTIMES = ("auto", *ENGINES)
MUST_GAIN = 1.05  # times


def pick(table: dict, kind: str, name: str):
    """The entry of a registry. Raises `ModelError` with the names there are."""
    if name not in table:
        raise ModelError(f"there is no {kind} {name!r}; choose from: {', '.join(table)}")
    return table[name]


FAMILY_OF: dict[str, Family] = {model: family for family in FAMILIES.values() for model in family.models}


@dataclass(frozen=True)
class Request:
    """What `vidmem.load` was asked for, checked only as far as it is used."""

    model: str
    runtime: str = "auto"
    precision: str | None = None
    device: str = "cpu"
    threads: int | None = None
    weights: Path | None = None
    image_size: int | None = None

    @property
    def family(self) -> Family:
        return pick(FAMILY_OF, "model", self.model)

    @property
    def export(self) -> Path | None:
        """The weights, where they are a folder that `vidmem export` wrote."""
        return self.weights if self.weights is not None and (self.weights / NAME).is_file() else None

    @property
    def int8(self) -> Path:
        """The encoder in int8, which lies beside graphs where somebody made one."""
        embedded = self.family.embedded and not self.weights
        return (self.family.path(self.model) if embedded else self.weights or Path("none")) / INT8

    def graphs(self) -> str:
        """A hash of what is run: weights and input size."""
        if self.export:
            parts = sorted(Manifest.read(self.export).files.values())
        else:
            parts = self.family.fingerprint(self.model, self.weights, self.image_size)
            if self.precision == "int8":
                parts = parts + [
                    file_hash(path) for path in (self.int8, self.int8.with_suffix(".bin")) if path.is_file()
                ]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def verdicts(asked: Request) -> list[GateVerdict]:
    """What the gate has said on this machine, the fastest first: against the reference, which ran in the same minute. Fewer bits must gain
    more than what one measurement differs from the next."""
    found = [read_verdict(verdict_key(asked, *pair)) for pair in gated(asked)]
    return sorted(
        (v for v in found if v is not None),
        key=lambda v: v.ms / v.reference_ms * (1 if v.precision == "fp32" else MUST_GAIN),
    )


def verdict_key(asked: Request, runtime: str, precision: str) -> dict[str, str]:
    """What the gate's verdict on that engine is kept under."""
    return gate_key(replace(asked, runtime=runtime, precision=precision).graphs(), runtime, precision)


def runtimes(asked: Request) -> list[str]:
    """Engines that run what was asked for on a CPU, in the family's order."""
    known = [name for name in asked.family.engines if not ENGINES[name].fixed]
    return [name for name in known if not (asked.export and ENGINES[name].make is None)]


def gated(asked: Request) -> list[tuple[str, str]]:
    """What there is to try for a model: pairs of engine and precision."""
    return [
        (name, precision)
        for name in runtimes(asked)
        for precision in ENGINES[name].tried
        if precision in asked.family.engines[name] and (precision != "int8" or asked.int8.is_file())
    ]


def open_network(asked: Request) -> tuple[Network, str]:
    """-> the network and, where `auto` chose, why. Raises as `vidmem.load`."""
    if asked.runtime != "auto":
        return named(asked), f"{asked.runtime}{f', {asked.precision}' if asked.precision else ''}, as asked for"
    if asked.device != "cpu":
        return named(replace(asked, runtime="pytorch")), f"pytorch, on {asked.device}"
    problems = []
    for verdict in verdicts(asked):
        if verdict.passed and asked.precision in (None, verdict.precision):
            chosen = replace(asked, runtime=verdict.runtime, precision=verdict.precision)
            try:
                why = f"{verdict.runtime}, {verdict.precision}, the fastest here: {verdict.ms:.0f} ms a frame"
                return named(chosen), f"{why} ({verdict.reference}: {verdict.reference_ms:.0f} ms)"
            except RuntimeMissing as error:
                problems.append(str(error))
    for runtime in runtimes(asked):
        try:
            why = f"{runtime}, {asked.precision or 'fp32'}, the default; `vidmem gate {asked.model}` tries which engine is the fastest here"
            return named(replace(asked, runtime=runtime)), why
        except RuntimeMissing as error:
            problems.append(str(error))
    raise RuntimeMissing("; ".join(dict.fromkeys(problems)))


def named(asked: Request, strict: bool = True) -> Network:
    """The network on the runtime that is named. strict: refuse what needs a verdict and has not passed on this machine."""
    network = _made(asked, strict)
    network.identity = lambda: f"{asked.graphs()} {asked.precision or 'fp32'}"
    return network


def _made(asked: Request, strict: bool) -> Network:
    family, card = asked.family, pick(ENGINES, "runtime", asked.runtime)
    precision = asked.precision or "fp32"
    card.check(asked.runtime, asked.device, asked.precision)
    family.check(asked.model, asked.runtime, precision, asked.image_size)
    if card.make is None:
        if asked.export and not family.embedded:
            raise ModelError(
                f"{asked.weights} holds an export, which the {asked.runtime} runtime does not read; give the .pt or .safetensors file"
            )
        args = asked.image_size, asked.device, precision, asked.threads
        return family.on_torch(asked.model, asked.weights, *args)
    if strict and not card.fixed and precision not in card.trusted:
        _refuse_ungated(asked, precision, card.gate.format(model=asked.model))
    folder, manifest = _folder(asked, card)
    open_axes = family.open_axes
    if manifest is not None and manifest.objects is not None:  # rows, tokens and pointers are fixed
        open_axes = {name: axes for name, axes in open_axes.items() if name == "decode"}
    if manifest is not None and card.fixed:
        precision = manifest.precision
    engine = card.make(Graphs(folder, manifest, precision, open_axes, family.exact), asked.device, asked.threads)
    if strict and card.fixed:
        _refuse_ungated(asked, precision, card.gate.format(runtime=asked.runtime))
    return family.on_graphs(engine, folder, manifest)


def _folder(asked: Request, card: EngineCard) -> tuple[Path, Manifest | None]:
    """Where the graphs lie; those of a model that ships none are exported into the cache the first time."""
    family, folder = asked.family, asked.export
    if folder is not None:
        manifest = Manifest.read(folder)
        manifest.check(folder)
        if manifest.model != asked.model or asked.image_size not in (None, manifest.size):
            raise ModelError(
                f"{folder} holds {manifest.model} at {manifest.size} pixels, not {asked.model} at {asked.image_size or manifest.size}"
            )
        if card.fixed and manifest.objects is None:
            raise ModelError(
                f"{folder} has open shapes; the {asked.runtime} runtime takes what `vidmem export {card.export} --objects N` writes"
            )
        return folder, manifest
    if card.fixed:
        raise ModelError(
            f"the {asked.runtime} runtime takes an export: vidmem export {asked.model} {card.export} --out DIR, then --weights DIR"
        )
    if family.embedded:
        return asked.weights or family.path(asked.model), None
    from vidmem.catalogue.export import exported

    folder = exported(asked.model, asked.weights, asked.image_size)
    return folder, Manifest.read(folder)


def _refuse_ungated(asked: Request, precision: str, help: str) -> None:
    verdict = read_verdict(verdict_key(asked, asked.runtime, precision))
    if verdict is None or not verdict.passed:
        state = "has not passed its gate on this machine" if verdict is None else f"is refused: {verdict}"
        raise ModelError(f"{asked.model} on {asked.runtime} in {precision} {state}; run: {help}")
