"""A small codec of protobuf messages that are described by dataclasses.

It knows what the header of the protocol needs: varints (plain, zigzag, boolean), fixed64, float, double, text, messages, and repeated
fields, which are packed where protobuf packs them. As in proto3, a field that is 0 or empty is left out; an *optional* one, None if it
is absent, is written whenever it is not None. Unknown fields are skipped. What is read is checked against the bounds of its field, so that
nothing that follows has to; a class with a method `check` is asked as well, when all its fields are there.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any, TypeVar

from .errors import MalformedMessage

UINT, SINT, BOOL, FIXED64, FLOAT, DOUBLE, TEXT = "uint", "sint", "bool", "fixed64", "float", "double", "text"
Kind = str | type
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_WIRE = {UINT: _VARINT, SINT: _VARINT, BOOL: _VARINT, FIXED64: _EIGHT, FLOAT: _FOUR, DOUBLE: _EIGHT, TEXT: _BYTES}
_FORMAT = {FIXED64: "<Q", FLOAT: "<f", DOUBLE: "<d"}
_ZERO: dict[str, Any] = {UINT: 0, SINT: 0, BOOL: False, FIXED64: 0, FLOAT: 0.0, DOUBLE: 0.0, TEXT: ""}
NUMBER, SMALL, WHOLE = 1 << 48, 1 << 24, (1 << 64) - 1
"""The largest step, version, class or extent; the largest number of a member, slice or micro-batch, or of milliseconds; of 64 bits."""
TEXT_BYTES = 4096
HEADER_BYTES = 17 << 20
"""The longest header that a client takes."""
HEADER_FIELDS = 1 << 20
"""Fields of a header in all: those of the largest plan, many times over. Each takes far more memory here than on the way."""
_UPPER: dict[str, Any] = {UINT: NUMBER, SINT: NUMBER, TEXT: TEXT_BYTES}
_LOWER: dict[str, Any] = {UINT: 0, SINT: -1}
M = TypeVar("M")
Bounds = tuple[Any, Any]


def wire(
    number: int,
    kind: Kind,
    *,
    repeated: bool = False,
    optional: bool = False,
    oneof: bool = False,
    lower: float | None = None,
    upper: float | None = None,
) -> Any:
    """A field of a message: its number, what it is (a name of this module, or a message class), and how often it comes.

    A message is always optional: None if it is absent. `oneof` marks a scalar that is one of several outcomes, and so may be absent, too.
    What is read is at least `lower` and at most `upper`, in bytes if it is text. Without them these are 0 and `NUMBER` (−1 if it is
    signed), `TEXT_BYTES` for text, and none for fixed64, float and double.
    """
    bounds: Bounds = (_LOWER.get(str(kind)) if lower is None else lower, _UPPER.get(str(kind)) if upper is None else upper)
    metadata = {"number": number, "kind": kind, "repeated": repeated, "optional": optional or oneof, "bounds": bounds}
    if repeated:
        return dataclasses.field(default_factory=list, metadata=metadata)
    default = None if optional or oneof or not isinstance(kind, str) else _ZERO[kind]
    return dataclasses.field(default=default, metadata=metadata)


Schema = tuple[dict[int, tuple[str, Kind, bool, Bounds]], list[tuple[int, str, Kind, bool, bool]]]
_known: dict[type, Schema] = {}


class Room:
    """How many more fields a header may have."""

    def __init__(self) -> None:
        self._left = HEADER_FIELDS

    def take(self) -> None:
        """Counts one.

        Raises:
            MalformedMessage: there are too many.
        """
        self._left -= 1
        if self._left < 0:
            raise MalformedMessage(f"the header has more than {HEADER_FIELDS} fields")


def _fields(cls: Any) -> Schema:
    if cls in _known:
        return _known[cls]
    by_number, in_order = {}, []
    for field in dataclasses.fields(cls):
        m = field.metadata
        by_number[m["number"]] = (field.name, m["kind"], m["repeated"], m["bounds"])
        in_order.append((m["number"], field.name, m["kind"], m["repeated"], m["optional"]))
    _known[cls] = by_number, sorted(in_order, key=lambda f: f[0])
    return _known[cls]


def varint(value: int) -> bytes:
    """`value` from 0 to 2^64 − 1 in base 128, the lowest digits first."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} does not fit into 64 bits")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next field begins."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise MalformedMessage("a number in the header is cut off or too long")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                raise MalformedMessage("a number in the header has more than 64 bits")
            return value, at
        shift += 7


def _scalar(kind: str, value: Any) -> bytes:
    if kind == SINT:
        return varint(((value << 1) ^ (value >> 63)) & (1 << 64) - 1)
    if kind in (UINT, BOOL):
        return varint(int(value))
    if kind == TEXT:
        text = str(value).encode()
        return varint(len(text)) + text
    return struct.pack(_FORMAT[kind], value)


def encode(message: Any) -> bytes:
    """The bytes of a message.

    Raises:
        ValueError: a number does not fit into its field.
    """
    out = bytearray()
    for number, name, kind, repeated, optional in _fields(type(message))[1]:
        value = getattr(message, name)
        if repeated:
            if value and isinstance(kind, str) and kind != TEXT:
                packed = b"".join(_scalar(kind, one) for one in value)
                out += varint(number << 3 | _BYTES) + varint(len(packed)) + packed
            else:
                for one in value:
                    out += _field(number, kind, one)
        elif value is not None and (optional or not isinstance(kind, str) or value != _ZERO[kind]):
            out += _field(number, kind, value)
    return bytes(out)


def _field(number: int, kind: Kind, value: Any) -> bytes:
    if isinstance(kind, str):
        return varint(number << 3 | _WIRE[kind]) + _scalar(kind, value)
    body = encode(value)
    return varint(number << 3 | _BYTES) + varint(len(body)) + body


def decode(cls: type[M], data: bytes | memoryview, room: Room | None = None) -> M:
    """The message of these bytes.

    Args:
        room: of the header that it is a part of; None: it has one of its own.

    Raises:
        MalformedMessage: they are none, or a number or text is out of its bounds.
    """
    room = room or Room()
    message = cls()
    by_number = _fields(cls)[0]
    for number, wire_type, value in fields(memoryview(data), room):
        if number not in by_number:
            continue
        name, kind, repeated, bounds = by_number[number]
        if not isinstance(kind, str):
            _expect(wire_type == _BYTES, name)
            inner: Any = decode(kind, value, room)
            if repeated:
                getattr(message, name).append(inner)
            else:
                setattr(message, name, inner)
        elif repeated and wire_type == _BYTES and kind != TEXT:
            getattr(message, name).extend(_unpack(kind, value, name, bounds, room))
        else:
            _expect(wire_type == _WIRE[kind], name)
            scalar = _value(kind, value, name, bounds)
            if repeated:
                getattr(message, name).append(scalar)
            else:
                setattr(message, name, scalar)
    check = getattr(message, "check", None)
    if check is not None:
        check()
    return message


def fields(view: memoryview, room: Room) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type and value (an int for varints, else the bytes).

    Raises:
        MalformedMessage: one is cut off or of no known type, or there is no room for it.
    """
    at = 0
    while at < len(view):
        room.take()
        key, at = read_varint(view, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise MalformedMessage("a field of the header has the number 0")
        if wire_type == _VARINT:
            value, at = read_varint(view, at)
            yield number, wire_type, value
            continue
        if wire_type == _BYTES:
            length, at = read_varint(view, at)
        elif wire_type in (_EIGHT, _FOUR):
            length = 8 if wire_type == _EIGHT else 4
        else:
            raise MalformedMessage(f"a field of the header has the unknown wire type {wire_type}")
        if at + length > len(view):
            raise MalformedMessage("a field of the header is cut off")
        yield number, wire_type, view[at : at + length]
        at += length


def _unpack(kind: str, data: memoryview, name: str, bounds: Bounds, room: Room) -> Iterator[Any]:
    size = struct.calcsize(_FORMAT[kind]) if kind in _FORMAT else 0
    _expect(not size or len(data) % size == 0, name)
    at = 0
    while at < len(data):
        room.take()
        if size:
            value: Any = data[at : at + size]
            at += size
        else:
            value, at = read_varint(data, at)
        yield _value(kind, value, name, bounds)


def _value(kind: str, value: Any, name: str, bounds: Bounds) -> Any:
    if kind == BOOL:
        return value != 0
    if kind == TEXT:
        return _text(value, name, bounds[1])
    number = struct.unpack(_FORMAT[kind], value)[0] if kind in _FORMAT else value
    if kind == SINT:
        number = (value >> 1) ^ -(value & 1)
    lower, upper = bounds
    # Written so that NaN is outside.
    if not ((lower is None or number >= lower) and (upper is None or number <= upper)):
        raise MalformedMessage(f"{name} in the header is {number}; {lower} to {upper} is allowed")
    return number


def _text(value: memoryview, name: str, limit: int) -> str:
    if len(value) > limit:
        raise MalformedMessage(f"{name} in the header has {len(value)} bytes; at most {limit} are allowed")
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        raise MalformedMessage(f"{name} in the header is not UTF-8") from None
    if "\0" in text:
        raise MalformedMessage(f"{name} in the header has a character of the number 0")
    return text


def _expect(condition: bool, name: str) -> None:
    if not condition:
        raise MalformedMessage(f"{name} in the header has another type than expected")
