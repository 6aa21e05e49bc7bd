"""Heads of other programs, merged into one file that a cluster begins with, and centers of a cluster for other programs.

InsightFace saves a file `checkpoint_gpu_{rank}.pt` for each rank, CVLFace one whose name ends in `_rank{rank}.pt`. Each has the
rows of consecutive classes: rank r of W has ⌊C/W⌋ of them, and one more if r < C mod W. One after the other they are the classes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checked import json_of, table
from .errors import MalformedMessage, PartialFCError, WeightError
from .exact import F32
from .safetensors import SafeTensors, write_rows

if TYPE_CHECKING:
    from .client import Client

PathLike = str | os.PathLike[str]
_NAMES = ("weight", "centers", "kernel", "weight_activated")
_BLOCK = 65536


def files_of(source: PathLike | Sequence[PathLike]) -> list[Path]:
    """The files of a head in the order of their ranks: one file, several, or a directory of them.

    Raises:
        WeightError: there is none, a rank is missing, or two files are of the same rank.
    """
    if not isinstance(source, str | os.PathLike):
        return _by_rank([Path(one) for one in source])
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise WeightError(f"{path}: there is no such file or directory")
    index = path / "centers.safetensors.index.json"
    if index.exists():
        return [index]
    for pattern in ("checkpoint_gpu_*.pt", "*_softmax_weight.pt", "*_rank*.pt", "*.pt", "*.safetensors"):
        found = list(path.glob(pattern))
        if found:
            return _by_rank(found)
    raise WeightError(f"{path} has no file of a head: checkpoint_gpu_*.pt, *_rank*.pt or *.safetensors")


def _by_rank(paths: list[Path]) -> list[Path]:
    if len(paths) == 1:
        return paths
    ranks: dict[int, Path] = {}
    for path in paths:
        number = re.search(r"rank_?(\d+)", path.stem) or re.search(r"(\d+)\D*$", path.stem)
        if number is None:
            raise WeightError(f"{path}: its name does not say of which rank it is")
        rank = int(number.group(1))
        if rank in ranks:
            raise WeightError(f"{path} and {ranks[rank]} are both of rank {rank}")
        ranks[rank] = path
    missing = sorted(set(range(len(ranks))) - ranks.keys())
    if missing:
        raise WeightError(f"there are {len(ranks)} files, and none of rank {missing[0]}: {paths[0].parent}")
    return [ranks[rank] for rank in range(len(ranks))]


def read_matrix(path: Path) -> F32:
    """The rows [n, D] of one file, as f32.

    Raises:
        WeightError: the file has no matrix of a head, or several that may be it.
    """
    if path.suffix == ".safetensors":
        tensors = SafeTensors(path)
        found = [n for n in tensors.entries if n.rpartition(".")[2] in _NAMES] or list(tensors.entries)
        if len(found) != 1:
            raise WeightError(f"{path} has {len(found)} tensors that may be the head: {', '.join(found[:5])}")
        return tensors.matrix(found[0])
    return _read_torch(path)


def _read_torch(path: Path) -> F32:
    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise WeightError(f"{path} cannot be read: {error}") from None
    for key in ("state_dict_softmax_fc", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if isinstance(content, torch.Tensor):
        content = {"weight": content}
    if not isinstance(content, dict):
        raise WeightError(f"{path} is a {type(content).__name__}, expected a state_dict with the head's weight")
    found = {
        str(name): value
        for name, value in content.items()
        if isinstance(value, torch.Tensor) and value.ndim == 2 and str(name).rpartition(".")[2] in _NAMES
    }
    if "weight" in found:
        found = {"weight": found["weight"]}
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise WeightError(f"{path}: one matrix called weight, centers or kernel is expected; found: {names}")
    ((name, value),) = found.items()
    if name.rpartition(".")[2] == "kernel":  # [D, n] in the head of AdaFace and CVLFace
        value = value.T
    try:
        return np.asarray(value.detach().to(torch.float32).numpy(), np.float32)
    except Exception as error:
        raise WeightError(f"{path}: {name} is no dense matrix of real numbers: {error}") from None


def _read_index(path: Path) -> list[F32]:
    """The rows that an index file names, in the order of their names, which is that of the classes."""
    try:
        index = table(table(json_of(path.read_text(), "the index"), "the index").get("weight_map"), "its weight_map")
    except (OSError, ValueError, MalformedMessage) as error:
        raise WeightError(f"{path} is no index of safetensors files: {error}") from None
    pieces, opened = [], dict[str, SafeTensors]()
    for name, file in sorted(index.items()):
        if not isinstance(file, str) or not file or Path(file).name != file or "\0" in file:
            raise WeightError(f"{path}: the file of {name[:100]} is no name of a file in the same directory")
        if file not in opened:
            opened[file] = SafeTensors(path.parent / file)
        pieces.append(opened[file].matrix(name))
    if not pieces:
        raise WeightError(f"{path} names no tensor")
    return pieces


def import_weight(source: PathLike | Sequence[PathLike], target: PathLike, *, num_classes: int | None = None) -> tuple[int, int]:
    """Merges the head of any number of ranks into one safetensors file with the tensor `centers`; classes and embedding size.

    A new run begins with it: `head.initial: TARGET` in its configuration, or `coordinator import --centers TARGET`. A running one takes it
    with `Client.add_classes`.

    Args:
        source: a file, several files, or a directory, as `files_of` says; or the index file or directory of `coordinator export`.
        target: the file to write.
        num_classes: how many classes there must be, if that is known.

    Raises:
        WeightError: a file cannot be read, a rank is missing, or sizes do not fit.
    """
    paths = files_of(source)
    pieces = _read_index(paths[0]) if paths[0].name.endswith(".index.json") else [read_matrix(path) for path in paths]
    sizes = {piece.shape[1] for piece in pieces}
    if len(sizes) != 1:
        raise WeightError(f"the files have different embedding sizes: {sorted(sizes)}")
    count, size = sum(len(piece) for piece in pieces), sizes.pop()
    if num_classes is not None and count != num_classes:
        raise WeightError(f"the files have {count} classes, expected {num_classes}")
    if len(pieces) > 1 and not paths[0].name.endswith(".index.json"):
        expected = [count // len(pieces) + (rank < count % len(pieces)) for rank in range(len(pieces))]
        found = [len(piece) for piece in pieces]
        if found != expected:
            raise WeightError(f"the ranks have {found} classes, expected {expected} of {count}: is one missing?")

    def blocks() -> Iterator[F32]:
        for path_number, piece in enumerate(pieces):
            for start in range(0, len(piece), _BLOCK):
                block = piece[start : start + _BLOCK]
                if not np.isfinite(block).all():
                    raise WeightError(f"{paths[min(path_number, len(paths) - 1)]} has a row that is not finite")
                yield block

    write_rows(target, "centers", (count, size), blocks())
    return count, size


def export_weight(client: Client, target: PathLike) -> tuple[int, int]:
    """Writes the centers of a running cluster as [C, D]: `weight` in a `.pt` file, `centers` in a safetensors file; classes and size.

    Rows are those of the moment. Pause the run, or let no job train, for rows of one step. A `.pt` file is made in memory.

    Raises:
        PartialFCError: a shard does not answer, or the file cannot be written.
    """
    shape = client.shape()
    if Path(target).suffix == ".safetensors":
        committed = str(client.status().get("committed", -1))
        write_rows(target, "centers", shape, (rows for _, rows in client.all_centers()), step=committed)
        return shape
    import torch

    try:
        weight = torch.empty(shape)
    except (RuntimeError, MemoryError):
        raise PartialFCError(f"there is no memory for {shape[0]} centers of {shape[1]} numbers: export a .safetensors file") from None
    for ids, rows in client.all_centers():
        weight[int(ids[0]) : int(ids[-1]) + 1] = torch.from_numpy(rows)
    torch.save({"weight": weight}, target)
    return shape
