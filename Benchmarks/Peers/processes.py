"""Measurements in processes of their own: what they printed, and how much else the machine did meanwhile."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 1800

# `experiments` keeps freed memory and asks for huge pages by itself; so may the others.
ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "THP_MEM_ALLOC_ENABLE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Failure(Exception):
    """Why a measurement has no result, in one line."""


def last_line(command: list[str]) -> Any:
    """Runs a program; the last line of its output, which is JSON."""
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, **ENVIRONMENT},
        )
        if ended.returncode != 0:
            errors = [line for line in ended.stderr.splitlines() if "error" in line.lower()]
            reason = errors[0].strip()[:100] if errors else "no message"
            raise Failure(f"exit status {ended.returncode}: {reason}")
        return json.loads(ended.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(str(error)) from None
    except (IndexError, json.JSONDecodeError):
        raise Failure("its last line is no JSON") from None


@dataclass
class Result:
    """What the runs of one measurement gave, or why there is nothing."""

    name: str
    runs: list[dict[str, float]] = field(default_factory=list)
    skipped: str = ""

    def add(self, measure: Callable[[], dict[str, float]]) -> None:
        """Measures once more, unless that failed before; adds `otherCores` to what `measure` returns."""
        if self.skipped:
            return
        start, busy = time.monotonic(), busy_seconds_of_others()
        try:
            figures = measure()
        except Failure as failure:
            self.skipped = str(failure)
        else:
            other = (busy_seconds_of_others() - busy) / (time.monotonic() - start)
            self.runs.append({**figures, "otherCores": max(0.0, other)})
        said = self.skipped or "  ".join(f"{key} {value:.4g}" for key, value in self.runs[-1].items())
        print(f"  {self.name}: {said}", file=sys.stderr, flush=True)

    def median(self, key: str) -> float | None:
        """Over the runs, if there are any."""
        return statistics.median(run[key] for run in self.runs) if self.runs else None


def busy_seconds_of_others() -> float:
    """Processor time that all but this process and its ended children used since the machine started."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - sum(
        use.ru_utime + use.ru_stime for use in own
    )


def available_bytes() -> int:
    """Memory that can be taken without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
