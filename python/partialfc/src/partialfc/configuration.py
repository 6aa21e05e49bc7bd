"""The run's configuration as the coordinator tells it: what a rank computes with is there, and in its domain."""

from __future__ import annotations

import sys
from typing import Any

from .checked import inner, json_of, real, table, whole
from .errors import MalformedMessage
from .protobuf import SMALL

_WHAT = "the configuration in the coordinator's welcome"
_HEAD = {"scale": (sys.float_info.min, 300), "m1": (0.01, 100), "m2": (-100, 100), "m3": (-100, 100), "sample_rate": (0, 1)}
_SLICES = 1 << 16


def configuration_of(text: str) -> dict[str, Any]:
    """The configuration, with what the package uses of it checked.

    Raises:
        MalformedMessage: it is none; the message names the section or key.
    """
    found = table(json_of(text, _WHAT), _WHAT)

    def section(name: str) -> dict[str, Any]:
        return table(inner(found, name, _WHAT), f"{name} in {_WHAT}")

    def number(of: str, name: str, upper: int, lower: int = 1) -> int:
        return whole(inner(section(of), name, f"{of} in {_WHAT}"), f"{of}.{name} in {_WHAT}", lower, upper)

    number("data", "classes", 1 << 48)
    number("backbone", "embedding_size", SMALL)
    number("head", "slices", _SLICES)
    if number("batch", "size", SMALL) % (micro := number("batch", "micro_batch", SMALL)):
        raise MalformedMessage(f"batch.size in {_WHAT} is no multiple of batch.micro_batch, {micro}")
    head = section("head")
    for name, (lower, upper) in _HEAD.items():
        real(inner(head, name, f"head in {_WHAT}"), f"head.{name} in {_WHAT}", lower, upper)
    real(head.get("interclass_filter", 0), f"head.interclass_filter in {_WHAT}", 0, 1)
    for name in ("schedule", "optimizer"):
        table(found.get(name, {}), f"{name} in {_WHAT}")
    optimizer = found.get("optimizer", {})
    for name in ("weight_decay", "momentum"):
        real(optimizer.get(name, 0), f"optimizer.{name} in {_WHAT}")
    return found
