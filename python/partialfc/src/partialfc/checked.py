"""What peers and files tell in JSON, checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .errors import MalformedMessage
from .protobuf import NUMBER


def json_of(text: str | bytes, what: str) -> Any:
    """The value of a text in JSON. It has no lone surrogates, so that it can be printed and sent.

    Raises:
        MalformedMessage: it is none; `what` names it.
    """
    try:
        value = json.loads(text)
        if "\\u" in (text if isinstance(text, str) else text.decode(errors="replace")):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError, MemoryError) as error:
        raise MalformedMessage(f"{what} cannot be read as JSON: {type(error).__name__}: {error}") from None
    return value


def table(value: Any, what: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{what} is {_shown(value)}, expected an object")
    return value


def listed(value: Any, what: str) -> list[Any]:
    """An array."""
    if not isinstance(value, list):
        raise MalformedMessage(f"{what} is {_shown(value)}, expected an array")
    return value


def tables(value: Any, what: str) -> list[dict[str, Any]]:
    """An array of objects."""
    return [table(one, f"an entry of {what}") for one in listed(value, what)]


def inner(values: Mapping[str, Any], name: str, what: str) -> Any:
    """What an object has under a name."""
    if name not in values:
        raise MalformedMessage(f"{what} has no {name}")
    return values[name]


def text_of(values: Mapping[str, Any], name: str, what: str) -> str:
    """A text without the character of the number 0, by which paths and addresses would end."""
    value = inner(values, name, what)
    if not isinstance(value, str) or "\0" in value:
        raise MalformedMessage(f"{name} of {what} is {_shown(value)}, expected text")
    return value


def whole(value: Any, what: str, lower: int = 0, upper: int = NUMBER) -> int:
    """A whole number, in bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not lower <= value <= upper:
        raise MalformedMessage(f"{what} is {_shown(value)}, expected a whole number from {lower} to {upper}")
    return value


def real(value: Any, what: str, lower: float = -math.inf, upper: float = math.inf) -> float:
    """A finite number, in bounds."""
    try:
        found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        found = math.inf
    if not (math.isfinite(found) and lower <= found <= upper):
        raise MalformedMessage(f"{what} is {_shown(value)}, expected a number from {lower:g} to {upper:g}")
    return found


def ranges_of(value: Any, what: str) -> list[tuple[int, int]]:
    """Ranges, each as its first number and one past its last."""
    found = []
    for one in listed(value, what):
        if not isinstance(one, list) or len(one) != 2:
            raise MalformedMessage(f"{what} has {_shown(one)}, expected the first and one past the last of a range")
        lower, upper = whole(one[0], what), whole(one[1], what)
        if lower >= upper:
            raise MalformedMessage(f"{what} has {lower} to {upper}, which is no range")
        found.append((lower, upper))
    return found


def _shown(value: Any) -> str:
    """A value in a message: short, whatever it is."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a number of more than 64 bits"
    return repr(value[:100] if isinstance(value, str) else value)
