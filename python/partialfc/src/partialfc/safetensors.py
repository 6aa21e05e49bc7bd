"""Reading and writing safetensors files, as far as weights of heads need it: a header in JSON, and row after row of f32."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import WeightError
from .exact import F32

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
                header = json.loads(file.read(length))
            self._start = 8 + length
            self.entries: dict[str, dict[str, Any]] = {name: entry for name, entry in header.items() if name != "__metadata__"}
            size = os.path.getsize(path) - self._start
            for name, entry in self.entries.items():
                lower, upper = entry["data_offsets"]
                if entry["dtype"] in _TYPES and (upper > size or upper - lower != self._bytes(entry)):
                    raise ValueError(f"the tensor {name} does not fit the file")
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise WeightError(f"{path} cannot be read as safetensors: {error}") from None

    @staticmethod
    def _bytes(entry: dict[str, Any]) -> int:
        count = int(np.prod(entry["shape"], dtype=np.int64))
        return count * np.dtype(_TYPES[entry["dtype"]]).itemsize

    def matrix(self, name: str) -> F32:
        """A tensor [n, D] of real numbers as f32; f32 is mapped, not read.

        Raises:
            WeightError: it is something else.
        """
        entry = self.entries[name]
        if len(entry["shape"]) != 2 or entry["dtype"] not in _TYPES:
            raise WeightError(f"{self.path}: {name} is {entry['dtype']} {entry['shape']}, expected a matrix of real numbers")
        offset = self._start + entry["data_offsets"][0]
        if self._bytes(entry) == 0:
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
