"""Messages with tensors, as frames and fragments (PROTOCOL.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import MalformedMessage
from .messages import Fragment, Header, TensorInfo
from .protobuf import NUMBER

Tensor = npt.NDArray[Any]
FRAGMENT_BYTES = 1 << 20
"""Longer tensors are sent in fragments, each of at most this many bytes."""
LONGEST_FRAGMENT = 4 << 20
MESSAGE_BYTES = 1 << 30
"""The most bytes of all tensors of a message."""
_AXES = 8

_TYPES = [np.dtype(name) for name in ("<f4", "<f8", "<i4", "<i8", "u1", "<u2")]
_CODES = {dtype: code for code, dtype in enumerate(_TYPES)}
_BYTE = _CODES[np.dtype("u1")]


def byte_count(info: TensorInfo) -> int:
    """The bytes of a tensor.

    Extents of 0 are counted as 1 for the limit, so that products of some of the extents are safe as well.

    Raises:
        MalformedMessage: the type is none, there are more than 8 axes, or no frame can have this size.
    """
    if info.dtype >= len(_TYPES) or len(info.shape) > _AXES:
        raise MalformedMessage(f"a tensor has the unknown type {info.dtype} or {len(info.shape)} axes")
    size = _TYPES[info.dtype].itemsize
    for extent in info.shape:
        size *= max(extent, 1)
    if size > NUMBER:
        raise MalformedMessage(f"a tensor of shape {info.shape} is too large")
    return 0 if 0 in info.shape else size


def frames(header: Header, tensors: Sequence[Tensor], series: int) -> Iterator[list[bytes | memoryview]]:
    """The messages that carry a header and its tensors: one, or an announcement and its fragments.

    Args:
        series: the number of this message, if it needs one.
    """
    infos, parts, large = [], [], []
    for tensor in tensors:
        tensor = np.ascontiguousarray(tensor).reshape(np.shape(tensor))
        data: memoryview = tensor.reshape(-1).view(np.uint8).data if tensor.size else memoryview(b"")
        is_large = len(data) > FRAGMENT_BYTES
        infos.append(TensorInfo(_CODES[tensor.dtype], list(tensor.shape), is_large))
        parts.append(memoryview(b"") if is_large else data)
        if is_large:
            large.append(data)
    header.tensors = infos
    header.series = series if large else 0
    yield [header.encode(), *parts]
    offset = 0
    for data in large:
        for at in range(0, len(data), FRAGMENT_BYTES):
            piece = data[at : at + FRAGMENT_BYTES]
            yield [Header(tensors=[TensorInfo(_BYTE, [len(piece)])], body=Fragment(series, offset)).encode(), piece]
            offset += len(piece)


class Assembler:
    """Puts arriving frames together again."""

    def __init__(self) -> None:
        self._header: Header | None = None
        self._tensors: list[Tensor] = []
        self._missing: list[npt.NDArray[np.uint8]] = []
        self._offset = self._filled = 0

    @property
    def is_receiving(self) -> bool:
        """Whether fragments of a message are still to come."""
        return self._header is not None

    def take(self, parts: Sequence[bytes | memoryview]) -> tuple[Header, list[Tensor]] | None:
        """The message that these frames complete, if they do.

        Raises:
            MalformedMessage: they are none of the protocol's.
        """
        header = Header.decode(parts[0])
        infos = header.tensors or []
        if len(parts) - 1 != len(infos):
            raise MalformedMessage(f"the header describes {len(infos)} tensors, and {len(parts) - 1} frames follow")
        if isinstance(header.body, Fragment):
            return self._continue(header.body, infos, parts[1:])
        self._header = None
        sizes = [byte_count(info) for info in infos]
        if sum(sizes) > MESSAGE_BYTES:
            raise MalformedMessage(f"the tensors of a message have {sum(sizes)} bytes; at most {MESSAGE_BYTES} are allowed")
        tensors, missing = [], []
        for info, size, part in zip(infos, sizes, parts[1:], strict=True):
            tensor = self._tensor(info, size, part)
            tensors.append(tensor)
            if info.in_fragments:
                missing.append(tensor.reshape(-1).view(np.uint8))
        if not missing:
            return header, tensors
        self._header, self._tensors, self._missing = header, tensors, missing
        self._offset = self._filled = 0
        return None

    @staticmethod
    def _tensor(info: TensorInfo, size: int, part: bytes | memoryview) -> Tensor:
        dtype = _TYPES[info.dtype]
        if len(part) != (0 if info.in_fragments else size):
            later = ", none with the header" if info.in_fragments else ""
            raise MalformedMessage(f"a tensor {info.shape} of {dtype} has {size} bytes{later}, and came with {len(part)} bytes")
        if not info.in_fragments:
            return np.frombuffer(bytes(part), dtype).reshape(info.shape)
        if size == 0:
            raise MalformedMessage("a tensor is empty and cannot come in fragments")
        try:
            return np.empty(info.shape, dtype)
        except MemoryError:
            raise MalformedMessage(f"there is no memory for a tensor of {size} bytes") from None

    def _continue(
        self, fragment: Fragment, infos: Sequence[TensorInfo], parts: Sequence[bytes | memoryview]
    ) -> tuple[Header, list[Tensor]] | None:
        header = self._header
        if len(infos) != 1 or infos[0] != TensorInfo(_BYTE, [len(parts[0])]):
            self._header = None
            raise MalformedMessage("a fragment needs one tensor u8 [n]")
        if not 1 <= len(parts[0]) <= LONGEST_FRAGMENT:
            self._header = None
            raise MalformedMessage(f"a fragment has {len(parts[0])} bytes; 1 to {LONGEST_FRAGMENT} are allowed")
        if header is None or fragment.series != header.series or fragment.offset != self._offset:
            self._header = None
            return None
        target, length = self._missing[0], len(parts[0])
        if self._filled + length > len(target):
            self._header = None
            raise MalformedMessage("a fragment is longer than its tensor")
        target[self._filled : self._filled + length] = np.frombuffer(parts[0], np.uint8)
        self._offset += length
        self._filled += length
        if self._filled == len(target):
            self._missing.pop(0)
            self._filled = 0
            if not self._missing:
                self._header = None
                return header, self._tensors
        return None
