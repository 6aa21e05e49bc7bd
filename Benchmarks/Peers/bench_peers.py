#!/usr/bin/env python3
"""Measures the head's step and the serving of rows beside what others would use, in one run, in turn.

The head, B = 128, D = 512, each variant in a process of its own with the same number of threads:
  dense    PyTorch with autograd over the whole matrix, f32, as InsightFace's partial_fc_v2 (dense_head.py)
  sparse   PyTorch by hand over the sampled rows only; rows, momentum and products in bf16 (sparse_head.py)
  sparse-f32   the same in f32
  ours …   `experiments head`, with the types of rows, of momentum and of products that are named
Which of the peers is the best depends on the machine: each of ours is compared with the best of it.
Rows over loopback TCP, 100,000 of a table of 1,000,000:
  whole    one message per request, the way of ps-lite (whole_message.c)
  ours     `experiments serving`

Writes peers.json and peers.png. Where other programs run meanwhile ("others": the cores that they took) no
figure counts, PyTorch's least of all: its threads wait for each other after every operation.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import plot
from head_case import Case
from processes import Failure, Result, available_bytes, last_line

HERE = Path(__file__).resolve().parent
CASES = [Case(100_000, 1.0), Case(1_000_000, 0.1)]
LARGE_CASE = Case(10_000_000, 0.1)
RESERVE_BYTES = 1.5e9

Record = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One way to compute the step; its bytes for each number of the table and of the sampled rows."""

    name: str
    command: list[str]
    table_bytes: float
    sampled_bytes: float


def variants(ours: Path) -> list[Variant]:
    """All that are compared; the fastest of the peers is what the times are divided by."""

    def pytorch(name: str, table_bytes: float, sampled_bytes: float) -> Variant:
        return Variant(name, [sys.executable, str(HERE / "time_head.py"), name], table_bytes, sampled_bytes)

    def experiments(rows: str, momentum: str, compute: str) -> Variant:
        types = ["--storage", rows, "--momentum-storage", momentum, "--compute", compute]
        size = sum({"f32": 4, "bf16": 2, "int8": 1}[kept] for kept in (rows, momentum))
        return Variant(
            f"ours {rows}, {momentum}, {compute}", [str(ours), "head", "--json", *types], size, size
        )

    return [
        pytorch("dense", 20, 20),
        pytorch("sparse", 4, 3),
        pytorch("sparse-f32", 8, 5),
        experiments("f32", "f32", "f32"),
        experiments("f32", "f32", "fma"),
        experiments("bf16", "bf16", "fma"),
        experiments("bf16", "bf16", "bf16"),
        experiments("bf16", "int8", "bf16"),
    ]


def measure_head(variant: Variant, case: Case, threads: int) -> dict[str, float]:
    """Starts the variant's process, if it fits into memory."""
    need = case.embedding_size * (variant.table_bytes * case.classes + variant.sampled_bytes * case.sampled)
    if need + RESERVE_BYTES > available_bytes():
        raise Failure(f"takes {need / 1e9:.0f} GB, {available_bytes() / 1e9:.0f} GB are free")
    sizes = [
        "--classes",
        f"{case.classes}",
        "--sample-rate",
        f"{case.sample_rate}",
        "--threads",
        f"{threads}",
    ]
    figures = last_line([*variant.command, *sizes])
    return {key: figures[key] for key in ("milliseconds", "residentBytes")}


def bench_head(cases: list[Case], ours: Path, runs: int, threads: int) -> list[Record]:
    """A record for every case and variant."""
    records = []
    for case in cases:
        chosen = variants(ours)
        results = [Result(variant.name) for variant in chosen]
        for run in range(runs):
            print(f"head, C = {case.classes}, r = {case.sample_rate}, run {run + 1}", file=sys.stderr)
            for variant, result in zip(chosen, results, strict=True):
                result.add(partial(measure_head, variant, case, threads))
        peers = [one.median("milliseconds") for one in results if not one.name.startswith("ours")]
        best = min((one for one in peers if one), default=None)
        for result in results:
            milliseconds = result.median("milliseconds")
            records.append(
                {
                    "variant": result.name,
                    "classes": case.classes,
                    "sampleRate": case.sample_rate,
                    "batch": case.batch,
                    "milliseconds": milliseconds,
                    "least": min((run["milliseconds"] for run in result.runs), default=None),
                    "gigaflopsPerSecond": milliseconds and 1000 * case.gigaflops / milliseconds,
                    "residentBytes": result.median("residentBytes"),
                    "timeByBestPeer": milliseconds and best and milliseconds / best,
                    "otherCores": result.median("otherCores"),
                    "skipped": result.skipped,
                }
            )
    return records


def measure_whole_message(program: str) -> dict[str, float]:
    """GB/s by operation, named as `experiments serving` does."""
    return {f"{name} f32": rate for name, rate in last_line([program]).items()}


def measure_serving(ours: Path) -> dict[str, float]:
    """GB/s by operation."""
    return {one["name"]: one["gigabytesPerSecond"] for one in last_line([str(ours), "serving", "--json"])}


def bench_serving(ours: Path, runs: int) -> list[Record]:
    """A record for every operation of both; rows in f32 are what both serve."""
    whole, served = Result("whole"), Result("ours")
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/whole_message"
        command = ["cc", "-O3", "-march=native", "-o", program, str(HERE / "whole_message.c"), "-lzmq"]
        compiler = subprocess.run(command, capture_output=True, text=True)
        if compiler.returncode != 0:
            whole.skipped = f"not compiled: {compiler.stderr.strip()[-100:]}"
        for run in range(runs):
            print(f"serving, run {run + 1}", file=sys.stderr)
            whole.add(partial(measure_whole_message, program))
            served.add(partial(measure_serving, ours))
    records = []
    for result in (whole, served):
        names = [name for name in result.runs[0] if name != "otherCores"] if result.runs else [""]
        for name in names:
            rate = result.median(name)
            base = whole.median(name) if whole.runs and name in whole.runs[0] else None
            records.append(
                {
                    "variant": result.name,
                    "name": name,
                    "gigabytesPerSecond": rate,
                    "rateByWhole": rate and base and rate / base,
                    "otherCores": result.median("otherCores"),
                    "skipped": result.skipped,
                }
            )
    return records


def table(columns: dict[str, list[Any]]) -> str:
    """Text to the left, numbers with three digits that count to the right."""
    texts = []
    for title, cells in columns.items():
        shown = [title] + [plot.short(cell) if isinstance(cell, float) else cell or "-" for cell in cells]
        width = max(map(len, shown))
        numeric = any(isinstance(cell, float) for cell in cells)
        texts.append([text.rjust(width) if numeric else text.ljust(width) for text in shown])
    return "\n".join("  ".join(row).rstrip() for row in zip(*texts, strict=True))


def report(result: Record) -> str:
    """Both tables, and what their columns are."""
    head, serving = result["head"], result["serving"]
    head_columns = {
        "head": [plot.case_name(one) for one in head],
        "variant": [one["variant"] for one in head],
        "ms": [one["milliseconds"] for one in head],
        "least": [one["least"] for one in head],
        "GFLOP/s": [one["gigaflopsPerSecond"] for one in head],
        "peak GB": [one["residentBytes"] and one["residentBytes"] / 1e9 for one in head],
        "time / best peer": [one["timeByBestPeer"] for one in head],
        "others": [one["otherCores"] for one in head],
        "skipped": [one["skipped"] for one in head],
    }
    serving_columns = {
        "serving": [one["name"] for one in serving],
        "variant": [one["variant"] for one in serving],
        "GB/s": [one["gigabytesPerSecond"] for one in serving],
        "rate / whole": [one["rateByWhole"] for one in serving],
        "others": [one["otherCores"] for one in serving],
        "skipped": [one["skipped"] for one in serving],
    }
    return f"""
{table(head_columns)}

{table(serving_columns)}

{result["threads"]} threads; medians of {result["runs"]} processes, each of which gives its steps' median.
GFLOP/s of a step's three products, 6·B·S·D; 10⁹ bytes of rows; peak memory with what PyTorch itself takes;
others: cores that other programs used meanwhile, near 0 if the figures are to count."""


def machine() -> Record:
    """What ran it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {"processor": next(names, platform.machine()), "cores": os.cpu_count()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    program = Path(".build/release/experiments")
    parser.add_argument(
        "--ours", "--experiments", type=Path, default=program, help="the program `experiments`"
    )
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="where the results go")
    parser.add_argument("--runs", type=int, default=3, help="processes of each variant; medians are shown")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--large", action="store_true", help="C = 10M, r = 0.1 as well: 22 GB for sparse")
    options = parser.parse_args()

    if subprocess.run([sys.executable, str(HERE / "check_mathematics.py")]).returncode != 0:
        return 1
    ours = options.ours.resolve()
    cases = CASES + [LARGE_CASE] * options.large
    result = {
        "machine": machine(),
        "threads": options.threads,
        "runs": options.runs,
        "head": bench_head(cases, ours, options.runs, options.threads),
        "serving": bench_serving(ours, options.runs),
    }
    print(report(result))
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "peers.json").write_text(json.dumps(result, indent=1) + "\n")
    plot.draw(plot.peers_panels(result), options.folder / "peers.png")
    print(f"written: {options.folder}/peers.json, {options.folder}/peers.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
