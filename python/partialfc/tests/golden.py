"""Reads the golden cases: safetensors with numbers in their metadata."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

_TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}


class GoldenCase:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = path.read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        self._metadata = header.pop("__metadata__")
        self._tensors = {}
        for name, entry in header.items():
            lower, upper = (8 + length + offset for offset in entry["data_offsets"])
            self._tensors[name] = np.frombuffer(data[lower:upper], _TYPES[entry["dtype"]]).reshape(entry["shape"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].copy()

    def number(self, name: str) -> float:
        """A number of the metadata."""
        return float(self._metadata[name])
