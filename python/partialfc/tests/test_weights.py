"""Heads of other programs, merged, and what is wrong with files that are none."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from partialfc import WeightError, import_weight
from partialfc.safetensors import SafeTensors, write_rows

C, D = 101, 12


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(C, D, generator=torch.Generator().manual_seed(1))


def parts(weight: torch.Tensor, world: int) -> list[torch.Tensor]:
    """Rows of each rank, as InsightFace divides them."""
    counts = [len(weight) // world + (rank < len(weight) % world) for rank in range(world)]
    return list(torch.split(weight, counts))


def merged(source: Path | list[Path], target: Path) -> np.ndarray:
    assert import_weight(source, target) == (C, D)
    return SafeTensors(target).matrix("centers")


@pytest.mark.parametrize("world", [1, 8, 12])
def test_insightface(weight: torch.Tensor, tmp_path: Path, world: int) -> None:
    for rank, part in enumerate(parts(weight, world)):
        state = {"epoch": 3, "global_step": 5, "state_dict_backbone": {"conv": torch.ones(2, 2)}, "state_dict_softmax_fc": {"weight": part}}
        torch.save(state, tmp_path / f"checkpoint_gpu_{rank}.pt")
    assert np.array_equal(merged(tmp_path, tmp_path / "out.safetensors"), weight.numpy())


def test_cvlface(weight: torch.Tensor, tmp_path: Path) -> None:
    for rank, part in enumerate(parts(weight, 8)):
        torch.save({"partial_fc.weight": part.half()}, tmp_path / f"classifier_rank{rank}.pt")
    assert np.array_equal(merged(tmp_path, tmp_path / "out.safetensors"), weight.half().float().numpy())


def test_a_transposed_kernel_and_one_tensor(weight: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"kernel": weight.T.contiguous()}, tmp_path / "head.pt")
    assert np.array_equal(merged(tmp_path / "head.pt", tmp_path / "out.safetensors"), weight.numpy())
    torch.save(weight, tmp_path / "tensor.pt")
    assert np.array_equal(merged(tmp_path / "tensor.pt", tmp_path / "out.safetensors"), weight.numpy())


def test_safetensors_of_ranks(weight: torch.Tensor, tmp_path: Path) -> None:
    files = []
    for rank, part in enumerate(parts(weight, 3)):
        files.append(tmp_path / f"head_rank{rank}.safetensors")
        write_rows(files[-1], "weight", tuple(part.shape), [part.numpy()])
    assert np.array_equal(merged(list(reversed(files)), tmp_path / "out.safetensors"), weight.numpy())


def test_what_is_wrong_is_said(weight: torch.Tensor, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    with pytest.raises(WeightError, match="no such file"):
        import_weight(tmp_path / "nothing", target)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightError, match="has no file of a head"):
        import_weight(tmp_path / "empty", target)
    for rank, part in enumerate(parts(weight, 4)):
        if rank != 2:
            torch.save({"weight": part}, tmp_path / f"checkpoint_gpu_{rank}.pt")
    with pytest.raises(WeightError, match="none of rank 2"):
        import_weight(tmp_path, target)
    torch.save({"weight": parts(weight, 4)[2][:-2]}, tmp_path / "checkpoint_gpu_2.pt")
    with pytest.raises(WeightError, match="is one missing"):
        import_weight(tmp_path, target)
    torch.save({"weight": torch.zeros(25, D + 1)}, tmp_path / "checkpoint_gpu_2.pt")
    with pytest.raises(WeightError, match="different embedding sizes"):
        import_weight(tmp_path, target)
    broken = parts(weight, 4)[2].clone()
    broken[3, 3] = float("nan")
    torch.save({"weight": broken}, tmp_path / "checkpoint_gpu_2.pt")
    with pytest.raises(WeightError, match=r"checkpoint_gpu_2\.pt has a row that is not finite"):
        import_weight(tmp_path, target)
    torch.save({"weight": parts(weight, 4)[2]}, tmp_path / "checkpoint_gpu_2.pt")
    with pytest.raises(WeightError, match="101 classes, expected 100"):
        import_weight(tmp_path, target, num_classes=100)
    (tmp_path / "garbage.pt").write_bytes(b"garbage")
    with pytest.raises(WeightError, match="cannot be read"):
        import_weight(tmp_path / "garbage.pt", target)
    (tmp_path / "garbage.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(WeightError, match="cannot be read as safetensors"):
        import_weight(tmp_path / "garbage.safetensors", target)
    torch.save({"other": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(WeightError, match="found: none"):
        import_weight(tmp_path / "other.pt", target)
    assert not target.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_parameter_with_a_gradient_is_read_and_a_sparse_matrix_is_not(weight: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"weight": torch.nn.Parameter(weight)}, tmp_path / "head.pt")
    assert np.array_equal(merged(tmp_path / "head.pt", tmp_path / "out.safetensors"), weight.numpy())
    torch.save({"weight": weight.to_sparse()}, tmp_path / "sparse.pt")
    with pytest.raises(WeightError, match="no dense matrix"):
        import_weight(tmp_path / "sparse.pt", tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1, 1], "data_offsets": [-4, 0]},
    ],
)
def test_entries_of_safetensors_that_describe_no_tensor(entry: object, tmp_path: Path) -> None:
    header = json.dumps({"weight": entry}).encode()
    (tmp_path / "head.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(WeightError, match="cannot be read as safetensors: "):
        import_weight(tmp_path / "head.safetensors", tmp_path / "out.safetensors")
