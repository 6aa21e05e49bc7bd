"""Frames, JSON and files that a broken or hostile peer could have made of good ones."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any

from partialfc import messages as m
from partialfc.messages import Header

Parts = list[bytes]
_NUMBERS = [0, 1, 2, 255, (1 << 24) + 1, (1 << 31) - 1, 1 << 32, (1 << 48) + 1, 1 << 62, (1 << 63) - 1, (1 << 64) - 1]
_REALS = [0.0, -1.0, 1e-310, 1e30, float("nan"), float("inf"), float("-inf")]
_TEXTS = ["", "x" * 5000, "a\0b", "tcp://", "tcp://[:1", "ipc://a,b", "worker-99999999999", "[" * 50_000]
_ODD = [None, True, -1, 0, 1.5, float("inf"), float("nan"), 1 << 62, 10**30, "", "\ud800", "a\0", [], {}, [[1]], [[5, 1]], [{}], "x" * 5000]


def filled(cls: type) -> Any:
    """A message of a class with something in every field."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        kind = field.metadata["kind"]
        plain = {"text": "5", "bool": True, "float": 0.5, "double": 0.5}
        one = filled(kind) if isinstance(kind, type) else plain.get(kind, 1)
        values[field.name] = [one, copy.deepcopy(one)] if field.metadata["repeated"] and field.name != "shards" else one
        if field.name == "shards":
            values[field.name] = [one]
    return cls(**values)


def mutated_json(source: random.Random, text: str) -> str:
    """JSON with one value replaced or missing, or no JSON at all."""
    if source.random() < 0.1:
        return source.choice(["[" * 50_000, '{"a":' * 50_000, text[: len(text) // 2], "null", "[]", "{}", "5", '"', "\ud7ff", "9" * 5000])
    value = {"": json.loads(text)}
    places = list(_places(value))
    holder, key = source.choice(places)
    if source.random() < 0.2 and holder is not value:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(source.choice(_ODD))
    return json.dumps(value.get(""))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def mutated(source: random.Random, parts: Parts) -> Parts:
    """The frames of a message, of which one thing is another."""
    kind = source.randrange(4)
    if kind == 0 or (kind == 1 and len(parts) == 1):
        return _other_bytes(source, parts)
    if kind == 1:
        at = source.randrange(1, len(parts))
        data = bytearray(parts[at])
        if data:
            start = 4 * source.randrange(max(1, len(data) // 4))
            data[start : start + 4] = source.choice([b"\0\0\xc0\x7f", b"\0\0\x80\xff", b"\xff" * 4, b"\xff\xff\xff\x7f", b"", b"\0" * 8])
        return [*parts[:at], bytes(data), *parts[at + 1 :]]
    header = Header.decode(parts[0])
    nodes = list(_nodes(header.body)) + [(one, field) for one in header.tensors or () for field in dataclasses.fields(one)]
    if not nodes:
        return _other_bytes(source, parts)
    _set(source, *source.choice(nodes))
    return [header.encode(), *parts[1:]]


def _other_bytes(source: random.Random, parts: Parts) -> Parts:
    at = source.randrange(len(parts))
    data = bytearray(parts[at])
    for _ in range(source.randint(1, 3)):
        if data:
            data[source.randrange(len(data))] = source.randrange(256)
    if source.random() < 0.3:
        data = data[: source.randint(0, len(data))]
    changed = [*parts[:at], bytes(data), *parts[at + 1 :]]
    return changed[: source.randint(1, len(changed))] if source.random() < 0.1 else changed


def _nodes(message: Any) -> Iterator[tuple[Any, Any]]:
    for field in dataclasses.fields(message):
        yield message, field
        value = getattr(message, field.name)
        for one in value if isinstance(value, list) else [value]:
            if dataclasses.is_dataclass(one):
                yield from _nodes(one)


def _set(source: random.Random, message: Any, field: Any) -> None:
    kind, before = field.metadata["kind"], getattr(message, field.name)
    if field.metadata["repeated"] and (isinstance(kind, type) or source.random() < 0.5):
        value: Any = source.choice([[], before + before, before[:-1]])
    elif isinstance(kind, type):
        value = None if before is not None or source.random() < 0.5 else filled(kind)
    elif kind == "text":
        value = mutated_json(source, before) if before and before[0] in "[{" else source.choice(_TEXTS)
        value = value.encode(errors="replace").decode()
    elif kind in ("float", "double"):
        value = source.choice(_REALS)
    elif kind == "bool":
        value = not before
    else:
        value = source.choice([*_NUMBERS, -1, -(1 << 62)]) if kind == "sint" else source.choice(_NUMBERS)
        value = max(-(1 << 63), min(value, (1 << 63) - 1)) if kind == "sint" else value
    if field.metadata["repeated"] and not isinstance(value, list):
        value = [*before[:-1], value]
    setattr(message, field.name, value)


ALL = list(m.BODIES.values())
