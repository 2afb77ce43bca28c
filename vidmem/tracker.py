"""`vidmem.load`: a network with the bank and the search that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidmem.errors import ModelError
from vidmem.memory import BANKS, Confident, MemoryBank, Policy, Recent
from vidmem.nn.sam2.config import CONFIGS
from vidmem.runtime.base import Network
from vidmem.runtime.choose import RUNTIMES, Request, open_network
from vidmem.search import SEARCHES, Search
from vidmem.session import Session
from vidmem.session.status import StatusRule

MOST_THREADS = 1024
NANO_NUMBERS = {"slots": 3, "prompts": 3, "pointers": 0, "absent": False}
"""What every bank starts from on `nano`: it has no pointers, an empty mask as its newest memory would blind its local read, and
plain reads of more memories than it was trained with cost time and find nothing."""
NANO_BANKS = {
    "confident": {"iou": 0.5},
    "recent": {"stride": 5},
    "diverse": {"slots": 5, "iou": 0.8},
    **{name: {"slots": 5} for name in ("anchors", "motion", "keyset", "consolidated", "lagged", "spaced")},
    **{name: {"slots": 6} for name in ("reconstructive", "surprise", "hierarchical")},
}
"""What a bank needs besides: places for its older memories, and predicted IoUs as `nano` gives them (seldom above 0.9)."""


@dataclass(frozen=True)
class Tracker:
    """A loaded network; makes any number of sessions, one a video, which share nothing but the network."""

    network: Network
    bank: Callable[[], MemoryBank]
    search: Callable[[], Search]
    why: str = ""
    """Which runtime was taken, and why, where `auto` chose it."""

    def session(
        self,
        bank: Callable[[], MemoryBank] | None = None,
        search: Callable[[], Search] | None = None,
        status: StatusRule = StatusRule(),
        max_objects: int | None = None,
        reverse: bool = False,
    ) -> Session:
        """A session for one stream. bank, search: policy objects such as `vidmem.memory.Recent(slots=7)`; None: the model's
        own. max_objects: refuse more objects than this instead of slowing down; None: no limit. reverse: frames come with
        falling indices."""
        return Session(self.network, bank or self.bank, search or self.search, status, max_objects, reverse)


@dataclass(frozen=True)
class Model:
    """One line of `vidmem models`."""

    name: str
    about: str
    bank: Callable[[], MemoryBank]

    def make_bank(self, name: str | None = None) -> Policy:
        """The bank of that name with numbers that suit the model; None: the model's own."""
        if name is None:
            return self.bank
        policy = pick(BANKS, "bank", name)
        return policy(**(NANO_NUMBERS | NANO_BANKS.get(name, {}))) if self.embedded else policy()

    @property
    def embedded(self) -> bool:
        """Its weights come with vidmem."""
        return self.name == "nano"


def _sam2(name: str) -> Model:
    version, size = name.split("-", 1)
    return Model(
        name, f"Meta's {version.upper().replace('SAM', 'SAM ')}, {size}, at 1024 pixels; fetch it first", Recent()
    )


MODELS = {
    "nano": Model(
        "nano",
        "embedded model, 3.6 M parameters, trained by this project; runs on a CPU",
        Confident(**NANO_NUMBERS | NANO_BANKS["confident"]),
    )
}
MODELS |= {name: _sam2(name) for name in CONFIGS}


def pick(table: dict, kind: str, name: str):
    """The entry of a registry. Raises `ModelError` with the names there are."""
    if name not in table:
        raise ModelError(f"there is no {kind} {name!r}; choose from: {', '.join(table)}")
    return table[name]


def load(
    model: str = "nano",
    *,
    runtime: str = "auto",
    bank: str | None = None,
    search: str = "greedy",
    device: str = "cpu",
    threads: int | None = None,
    weights: str | Path | None = None,
    image_size: int | None = None,
    precision: str | None = None,
) -> Tracker:
    """Load a model.

    model: a name from `vidmem models`. runtime: `onnx`, `openvino`, `pytorch`, or `auto`: the fastest that passed its gate
    here (`vidmem gate`), and where none was tried, onnx for nano and pytorch for SAM 2. bank, search: names; None: the
    model's own. device: `cpu`, or `cuda` for pytorch and onnx. threads: of the network; None: every core. weights: other weights of
    the same model (nano: a folder; SAM 2: a .pt or .safetensors file, or a folder that `vidmem export` wrote; None: what
    `vidmem models get` fetched). image_size: pixels a side of SAM 2's input, a multiple of 32; None: 1024, as trained.
    precision: `fp32`, or `bf16` with openvino and with SAM 2 on pytorch; None: fp32, or what `auto` finds best. Raises
    `ModelError` for a name or weights that do not exist or fit, or a precision that has not passed its gate here, and
    `RuntimeMissing` when the engine is not installed.
    """
    card = pick(MODELS, "model", model)
    if runtime not in RUNTIMES:
        raise ModelError(f"there is no runtime {runtime!r}; choose from: {', '.join(RUNTIMES)}")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ModelError(f"threads={threads}; expected 1 or more, at most {MOST_THREADS}, or none for every core")
    make_bank, make_search = card.make_bank(bank), pick(SEARCHES, "search", search)()
    asked = Request(model, runtime, precision, device, threads, None if weights is None else Path(weights), image_size)
    network, why = open_network(asked)
    return Tracker(network, make_bank, make_search, why)
