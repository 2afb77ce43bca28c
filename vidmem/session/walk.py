"""Typed values as JSON and arrays, and back. What is referred to twice is written once, and is one object again when it is read."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

MOST = 1 << 53  # of a whole number: beyond, JSON's readers disagree


@dataclass(frozen=True)
class Kind:
    """A dataclass or NamedTuple that may be written. Fields of the type `Any` hold what belongs to the network: its arrays, or objects of
    its own kinds."""

    cls: Any
    given: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are not written: the reader has them."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """Types of fields that the class leaves open."""
    made: Callable[[Any], Any] = lambda value: value
    """What becomes of an object that was read; raises `ValueError` where it cannot be."""

    @property
    def names(self) -> list[str]:
        every = [f.name for f in fields(self.cls)] if is_dataclass(self.cls) else getattr(self.cls, "_fields", ())
        return [name for name in every if name not in self.given]


class Writer:
    """host: the network's, an array of its own -> numpy. Raises `ValueError` for what is of no known kind."""

    def __init__(self, kinds: Mapping[str, Kind], host: Callable[[Any], np.ndarray]):
        self.objects: list[list] = []
        self.arrays: list[np.ndarray] = []
        self._names, self._kinds, self._host = {kind.cls: name for name, kind in kinds.items()}, kinds, host
        self._seen: dict[int, tuple[dict, Any]] = {}  # by identity; the value is kept, so that its id stays its own

    def node(self, value) -> Any:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"it holds the number {value}")
            return float(value)
        if id(value) in self._seen:
            return self._seen[id(value)][0]
        if type(value) in self._names:
            node = self._object(value)
        elif isinstance(value, dict):
            return [[self.node(key), self.node(item)] for key, item in value.items()]
        elif isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
            return [self.node(item) for item in value]
        else:
            array = value if isinstance(value, np.ndarray) else self._host(value)
            if not isinstance(array, np.ndarray):
                raise ValueError(f"it holds a {type(value).__name__}, which no kind of value here is")
            self.arrays.append(array)
            node = {"array": len(self.arrays) - 1}
        self._seen[id(value)] = node, value
        return node

    def _object(self, value) -> dict:
        name = self._names[type(value)]
        row = [name, [self.node(getattr(value, field)) for field in self._kinds[name].names]]
        self.objects.append(row)
        return {"object": len(self.objects) - 1}


class Reader:
    """The inverse. objects, arrays: as a `Writer` left them, from anywhere. put: the network's, numpy -> an array of its own. stand_in:
    protocol -> the class that is expected for it. Raises `ValueError` for what does not fit the types."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        put: Callable[[np.ndarray], Any],
        objects: list,
        arrays: list[np.ndarray],
        stand_in: Mapping[Any, type],
    ):
        self._put, self._arrays, self._stand_in = put, arrays, stand_in
        self._own: dict[int, Any] = {}  # number of an array -> the network's
        self._objects: list = []
        names = {kind.cls.__name__: kind.cls for kind in kinds.values()}
        hints = {name: get_type_hints(kind.cls, localns=names) | dict(kind.hints) for name, kind in kinds.items()}
        for row in objects:  # each refers to earlier ones alone
            if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], list)):
                raise ValueError("an object that is none")
            name, values = row
            if name not in kinds or len(values) != len(kinds[name].names):
                raise ValueError(f"an object of the kind {name[:40]!r} with {len(values)} fields")
            kind = kinds[name]
            read = {field: self.value(node, hints[name][field]) for field, node in zip(kind.names, values)}
            self._objects.append(kind.made(kind.cls(**read, **kind.given)))

    def value(self, node, hint) -> Any:
        hint = self._stand_in.get(hint, hint)
        origin, args = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            if node is None and types.NoneType in args:
                return None
            choices = [arg for arg in args if arg is not types.NoneType]
            if len(choices) > 1:  # several classes
                value = self._refer(node, own=False)
                if not isinstance(value, tuple(choices)):
                    raise ValueError(
                        f"a {type(value).__name__} in the place of a {' or a '.join(c.__name__ for c in choices)}"
                    )
                return value
            return self.value(node, choices[0])
        if hint is Any:
            return None if node is None else self._refer(node, own=True)
        if origin in (tuple, list):
            return self._sequence(node, origin, args)
        if origin is dict:
            pairs = [self._sequence(pair, tuple, args) for pair in self._list(node)]
            if len(dict(pairs)) != len(pairs):
                raise ValueError("a key that comes twice")
            return dict(pairs)
        if hint in (None, types.NoneType, bool, int, float, str):
            return self._scalar(node, hint)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(node)
        value = self._refer(node, own=False)
        if not isinstance(value, hint):
            raise ValueError(f"a {type(value).__name__} in the place of a {hint.__name__}")
        return value

    def _scalar(self, node, hint):
        if hint in (None, types.NoneType):
            fits = node is None
        elif hint in (bool, str):
            fits = isinstance(node, hint)
        else:
            fits = type(node) is int and abs(node) <= MOST
            if hint is float:
                fits = fits or (type(node) is float and math.isfinite(node))
        if not fits:
            raise ValueError(f"{str(node)[:40]!r} in the place of {getattr(hint, '__name__', 'nothing')}")
        return float(node) if hint is float else node

    def _sequence(self, node, origin, args):
        node = self._list(node)
        if origin is list or args[-1:] == (...,):
            return origin(self.value(item, args[0]) for item in node)
        if len(node) != len(args):
            raise ValueError(f"{len(node)} values in the place of {len(args)}")
        return tuple(self.value(item, arg) for item, arg in zip(node, args))

    def _list(self, node) -> list:
        if not isinstance(node, list):
            raise ValueError(f"{str(node)[:40]!r} in the place of several values")
        return node

    def _refer(self, node, own: bool):
        """own: an array becomes the network's."""
        kind, number = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else ("", None)
        there = {"array": self._arrays, "object": self._objects}.get(kind)
        if there is None or type(number) is not int or not 0 <= number < len(there):
            raise ValueError(f"{str(node)[:40]!r} in the place of an object")
        if kind == "object" or not own:
            return there[number]
        if number not in self._own:
            self._own[number] = self._put(there[number])
        return self._own[number]
