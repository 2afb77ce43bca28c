"""`vidmem.load`: a network with the bank and the search that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidmem.catalogue.choose import FAMILY_OF, RUNTIMES, Request, open_network, pick
from vidmem.errors import ModelError
from vidmem.learn import LEARNERS, Learner
from vidmem.memory import BANKS, MemoryBank, Policy
from vidmem.networks.base import Network
from vidmem.networks.family import Family
from vidmem.search import SEARCHES, Search
from vidmem.session import Session, StatusRule, ZoomedSession, ZoomRule

MOST_THREADS = 1024


@dataclass(frozen=True, repr=False)
class Tracker:
    """A loaded network; makes any number of sessions, one a video, which share nothing but the network."""

    network: Network
    bank: Callable[[], MemoryBank]
    search: Callable[[], Search]
    why: str = ""
    """Which runtime was taken, and why, where `auto` chose it."""
    clean: bool | None = None
    """Stray parts of masks are dropped; None: where the network's objects compete, so not on SAM 2."""
    learner: Callable[[], Learner] | None = None
    """What each object has a learner by (`vidmem.learn`); None: objects have none."""
    model: str | None = None
    """Its name, where it has one: banks that are named get the numbers that suit it."""

    def __repr__(self) -> str:
        return f"Tracker({self.model or 'a network'} on {self.network.runtime}, {self.bank}, {self.search})"

    def session(
        self,
        bank: str | Callable[[], MemoryBank] | None = None,
        search: str | Callable[[], Search] | None = None,
        status: StatusRule = StatusRule(),
        max_objects: int | None = None,
        reverse: bool = False,
        clean: bool | None = None,
        learner: str | Callable[[], Learner] | None = None,
    ) -> Session:
        """A session for one stream. bank, search: names such as "surprise", or policy objects such as
        `vidmem.memory.Recent(slots=7)`; None: the model's own. max_objects: refuse more objects than this instead of slowing
        down; None: no limit. reverse: frames come with falling indices. clean: as the tracker's, which None leaves it to. learner: "none", a
        name of `vidmem.learn.LEARNERS` or an object such as `vidmem.learn.Ridge(rate=0.05)`; None: the tracker's.
        Raises `ModelError` for a name that there is not."""
        return Session(
            self.network, self._bank(bank), self._search(search), status, max_objects, reverse,
            clean=self.clean if clean is None else clean, learner=self.learner if learner is None else pick_learner(learner),
        )  # fmt: skip

    def zoomed(
        self,
        bank: str | Callable[[], MemoryBank] | None = None,
        search: str | Callable[[], Search] | None = None,
        status: StatusRule = StatusRule(),
        max_objects: int | None = None,
        reverse: bool = False,
        clean: bool | None = None,
        rule: ZoomRule = ZoomRule(),
    ) -> ZoomedSession:
        """As `session`, for small objects: each is followed at full resolution in a window of its own (`vidmem.session.zoomed`). rule: how
        windows follow. Raises `ModelError` for a name that there is not, a search that lags, and a tracker with a learner."""
        if self.learner is not None:
            raise ModelError("zoom follows objects without a learner; leave --zoom or --learner")
        return ZoomedSession(
            self.network, self._bank(bank), self._search(search), status, max_objects, reverse,
            clean=self.clean if clean is None else clean, rule=rule,
        )  # fmt: skip

    def _bank(self, bank: str | Callable[[], MemoryBank] | None) -> Callable[[], MemoryBank]:
        if isinstance(bank, str):
            return MODELS[self.model].make_bank(bank) if self.model else pick(BANKS, "bank", bank)()
        return bank or self.bank

    def _search(self, search: str | Callable[[], Search] | None) -> Callable[[], Search]:
        return pick(SEARCHES, "search", search)() if isinstance(search, str) else search or self.search


def pick_learner(learner: str | Callable[[], Learner]) -> Callable[[], Learner] | None:
    """What a name stands for. Raises `ModelError` for one that there is not."""
    if not isinstance(learner, str):
        return learner
    return pick({"none": lambda: None, **LEARNERS}, "learner", learner)()


@dataclass(frozen=True)
class Model:
    """One line of `vidmem models`."""

    name: str
    family: Family

    @property
    def about(self) -> str:
        return self.family.models[self.name]

    @property
    def embedded(self) -> bool:
        """Its weights come with vidmem."""
        return self.family.embedded

    def make_bank(self, name: str | None = None) -> Policy:
        """The bank of that name with numbers that suit the model; None: the model's own. Raises `ModelError` for a name that
        there is not."""
        if name is not None:
            pick(BANKS, "bank", name)
        return self.family.bank(name)


MODELS = {name: Model(name, family) for name, family in FAMILY_OF.items()}


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
    clean: bool | None = None,
    learner: str | None = None,
) -> Tracker:
    """Load a model.

    model: a name from `vidmem models`. runtime: `onnx`, `openvino`, `pytorch`, or `auto`: the fastest that passed its gate
    here (`vidmem gate`), and where none was tried, openvino for nano (onnx where that is not installed) and pytorch for SAM 2. bank, search: names; None: the
    model's own. device: `cpu`, or `cuda` for pytorch and onnx. threads: of the network; None: every core. weights: other weights of
    the same model (nano: a folder; SAM 2 and ReSurgSAM2: a .pt or .safetensors file, or a folder that `vidmem export` wrote; None: what
    `vidmem models get` fetched). image_size: pixels a side of their input, a multiple of 32; None: 1024, and 512, as trained.
    precision: `fp32`, or `bf16` with openvino and with SAM 2 on pytorch; None: fp32, or what `auto` finds best. clean: drop stray parts of masks
    (`vidmem.session.cleaning`); None: on nano yes, on SAM 2, which is equal to the original, no. learner: `none`, or
    `ridge`, a small classifier of each object that says with the network whether it is there (`vidmem.learn`); None:
    no learner. Raises
    `ModelError` for a name or weights that do not exist or fit, or a precision that has not passed its gate here, and
    `RuntimeMissing` when the engine is not installed.
    """
    card = pick(MODELS, "model", model)
    if runtime not in RUNTIMES:
        raise ModelError(f"there is no runtime {runtime!r}; choose from: {', '.join(RUNTIMES)}")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ModelError(f"threads={threads}; expected 1 or more, at most {MOST_THREADS}, or none for every core")
    if card.embedded and weights is not None and not Path(weights).is_dir():
        raise ModelError(f"weights {weights}: there is no such folder; leave them out for the model's own")
    make_bank, make_search = card.make_bank(bank), pick(SEARCHES, "search", search)()
    asked = Request(model, runtime, precision, device, threads, None if weights is None else Path(weights), image_size)
    network, why = open_network(asked)
    make_learner = None if learner is None else pick_learner(learner)
    return Tracker(network, make_bank, make_search, why, clean, make_learner, model)
