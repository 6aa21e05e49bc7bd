"""Messages with tensors, as frames and fragments (PROTOCOL.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import MalformedMessage
from .messages import Fragment, Header, TensorInfo

Tensor = npt.NDArray[Any]
FRAGMENT_BYTES = 1 << 20
"""Longer tensors are sent in fragments, each of at most this many bytes."""
MESSAGE_BYTES = 1 << 30

_TYPES = [np.dtype(name) for name in ("<f4", "<f8", "<i4", "<i8", "u1", "<u2")]
_CODES = {dtype: code for code, dtype in enumerate(_TYPES)}


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
            yield [Header(tensors=[TensorInfo(4, [len(piece)])], body=Fragment(series, offset)).encode(), piece]
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
            return self._continue(header.body, parts[1:])
        self._header = None
        tensors, missing = [], []
        for info, part in zip(infos, parts[1:], strict=True):
            tensor = self._tensor(info, part)
            tensors.append(tensor)
            if info.in_fragments:
                missing.append(tensor.reshape(-1).view(np.uint8))
        if not missing:
            return header, tensors
        self._header, self._tensors, self._missing = header, tensors, missing
        self._offset = self._filled = 0
        return None

    @staticmethod
    def _tensor(info: TensorInfo, part: bytes | memoryview) -> Tensor:
        if info.dtype >= len(_TYPES) or len(info.shape) > 8:
            raise MalformedMessage(f"a tensor has the unknown type {info.dtype} or {len(info.shape)} axes")
        dtype, count = _TYPES[info.dtype], 1
        for extent in info.shape:
            count *= extent
        if count * dtype.itemsize > MESSAGE_BYTES:
            raise MalformedMessage(f"a tensor has {count * dtype.itemsize} bytes, more than this client takes")
        if info.in_fragments:
            return np.empty(info.shape, dtype)
        if len(part) != count * dtype.itemsize:
            raise MalformedMessage(f"a tensor {info.shape} of {dtype} came with {len(part)} bytes")
        return np.frombuffer(bytes(part), dtype).reshape(info.shape)

    def _continue(self, fragment: Fragment, parts: Sequence[bytes | memoryview]) -> tuple[Header, list[Tensor]] | None:
        header = self._header
        if header is None or fragment.series != header.series or fragment.offset != self._offset or len(parts) != 1:
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
