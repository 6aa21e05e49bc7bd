"""Reading and writing safetensors files, as far as weights of heads need it: a header in JSON, and row after row of f32."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .checked import inner, json_of, listed, table, text_of, whole
from .errors import MalformedMessage, WeightError
from .exact import F32
from .protobuf import NUMBER

_TYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2"}


class SafeTensors:
    """An open file.

    Args:
        path: of the file.

    Raises:
        WeightError: it is no safetensors file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            with open(path, "rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > 100 << 20:
                    raise ValueError("the header is too long")
                header = table(json_of(file.read(length), "the header"), "the header")
            self._start = 8 + length
            self.entries: dict[str, dict[str, Any]] = {name: entry for name, entry in header.items() if name != "__metadata__"}
            size = os.path.getsize(path) - self._start
            for name, entry in self.entries.items():
                self._check(entry, f"the tensor {name[:100]}", size)
        except (OSError, ValueError, MalformedMessage, struct.error) as error:
            raise WeightError(f"{path} cannot be read as safetensors: {error}") from None

    @staticmethod
    def _check(entry: Any, what: str, size: int) -> None:
        """Checks an entry of the header against the bytes that follow it."""
        table(entry, what)
        offsets = [whole(one, f"an offset of {what}") for one in listed(inner(entry, "data_offsets", what), f"data_offsets of {what}")]
        shape = [whole(one, f"an extent of {what}") for one in listed(inner(entry, "shape", what), f"shape of {what}")]
        kind = text_of(entry, "dtype", what)
        if len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
            raise MalformedMessage(f"{what} does not fit the file")
        if kind not in _TYPES:
            return
        width = np.dtype(_TYPES[kind]).itemsize
        # Extents of 0 count as 1, so that products of some of the extents are safe as well.
        if width * math.prod(max(one, 1) for one in shape) > NUMBER or width * math.prod(shape) != offsets[1] - offsets[0]:
            raise MalformedMessage(f"{what} does not fit the file")

    def matrix(self, name: str) -> F32:
        """A tensor [n, D] of real numbers as f32; f32 is mapped, not read.

        Raises:
            WeightError: it is something else.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise WeightError(f"{self.path} has no tensor {name[:100]}")
        if len(entry["shape"]) != 2 or entry["dtype"] not in _TYPES:
            raise WeightError(f"{self.path}: {name} is {entry['dtype']} {entry['shape']}, expected a matrix of real numbers")
        offset = self._start + entry["data_offsets"][0]
        if 0 in entry["shape"]:
            return np.zeros(entry["shape"], np.float32)
        mapped: Any = np.memmap(self.path, np.dtype(_TYPES[entry["dtype"]]), "r", offset, tuple(entry["shape"]))
        if entry["dtype"] == "BF16":
            return (np.asarray(mapped, np.uint32) << 16).view(np.float32)
        return np.asarray(mapped, np.float32)


def write_rows(path: str | os.PathLike[str], name: str, shape: tuple[int, int], blocks: Iterable[F32], **metadata: str) -> None:
    """Writes one tensor f32 from blocks of its rows, under another name first, so that there is no half of a file.

    Raises:
        WeightError: the blocks have another number of rows, or the file cannot be written.
    """
    target = Path(path)
    unfinished = target.with_name(target.name + ".partial")
    length = 4 * shape[0] * shape[1]
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, length]}
    header = json.dumps({"__metadata__": {"format": "pt", **metadata}, name: entry}).encode()
    header += b" " * (-len(header) % 8)
    written = 0
    try:
        with open(unfinished, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for block in blocks:
                data = np.ascontiguousarray(block, "<f4")
                if data.ndim != 2 or data.shape[1] != shape[1]:
                    raise WeightError(f"rows of {list(data.shape)}, expected [n, {shape[1]}]")
                file.write(data.tobytes())
                written += len(data)
            file.flush()
            os.fsync(file.fileno())
        if written != shape[0]:
            raise WeightError(f"{written} rows, expected {shape[0]}")
        os.replace(unfinished, target)
    except OSError as error:
        raise WeightError(f"{target} cannot be written: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
