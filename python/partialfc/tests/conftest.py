"""What the tests share: clusters on this machine, golden cases, and the versions of things.

The programs are looked for in PARTIALFC_PROGRAMS, `.build/release` of the repository, and on PATH; tests of clusters are skipped
without them. GOLDEN_DIR names the golden cases of the head.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.local import LocalCluster

REPOSITORY = Path(__file__).resolve().parents[3]
torch.set_num_threads(1)


def programs() -> Path | None:
    """The folder of the programs."""
    for folder in (os.environ.get("PARTIALFC_PROGRAMS"), REPOSITORY / ".build/release"):
        if folder and (Path(folder) / "coordinator").exists():
            return Path(folder)
    found = shutil.which("coordinator")
    return Path(found).parent if found else None


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., LocalCluster]]:
    """Starts clusters that end with the test."""
    folder = programs()
    if folder is None:
        pytest.skip("the programs are not built")
    started: list[LocalCluster] = []

    def start(configuration: dict[str, Any], **more: Any) -> LocalCluster:
        one = LocalCluster(tmp_path / f"cluster{len(started)}", configuration, programs=folder, **more)
        started.append(one)
        return one.start()

    yield start
    for one in started:
        one.stop()


def golden_cases() -> list[Path]:
    """The files of the golden cases."""
    folder = Path(os.environ.get("GOLDEN_DIR", REPOSITORY.parent / "shared/golden"))
    return sorted(folder.glob("*.safetensors"))
