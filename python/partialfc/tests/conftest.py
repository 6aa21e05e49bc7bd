"""What the tests share: clusters on this machine, golden cases, ranks in threads.

The programs are looked for in PARTIALFC_PROGRAMS, `.build/release` of the repository, and on PATH; tests of clusters are skipped
without them. GOLDEN_DIR names the golden cases of the head.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.local import LocalCluster
from partialfc.world import World

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
        # Nobody needs their state: shards that leave in good order hand their slices over first.
        for name in one.processes:
            one.kill(name)


PATIENCE = 300.0
"""Seconds after which a test gives up: far more than anything takes, also on a machine that is busy."""


def wait_until(condition: Callable[[], Any], what: str = "what the test waits for") -> Any:
    """Waits until `condition()` is true, whatever time that takes; its value."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} has not happened for {PATIENCE:g} s"
        time.sleep(0.02)
    return found


def golden_cases() -> list[Path]:
    """The files of the golden cases."""
    folder = Path(os.environ.get("GOLDEN_DIR", REPOSITORY.parent / "shared/golden"))
    return sorted(folder.glob("*.safetensors"))


class ThreadWorld(World):
    """Ranks that are threads of one process."""

    def __init__(self, rank: int, size: int, shared: dict[str, Any]) -> None:
        self.rank, self.size, self.is_distributed = rank, size, size > 1
        self._shared = shared

    def job_id(self) -> int:
        return int(self._shared["id"])

    def gather(self, values: list[float]) -> list[list[float]]:
        if self.size == 1:
            return [values]
        self._shared["values"][self.rank] = values
        self._shared["barrier"].wait(PATIENCE)
        found = [list(one) for one in self._shared["values"]]
        self._shared["barrier"].wait(PATIENCE)
        return found


def worlds(size: int, number: int = 1) -> list[ThreadWorld]:
    """The ranks of one start of a job."""
    shared = {"id": number, "values": [None] * size, "barrier": threading.Barrier(size)}
    return [ThreadWorld(rank, size, shared) for rank in range(size)]


def in_threads(work: Callable[[int], Any], size: int) -> list[Any]:
    """Runs `work(rank)` of every rank at the same time; their results, or the first error."""
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(rank)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    return results
