#!/usr/bin/env python3
"""Measures backbones at 112×112 beside PyTorch and onnxruntime, in one run, in turn: images per second, 2 threads, single precision.

Training is forward, backward, clip and SGD. PyTorch runs eagerly (channels last) and compiled; the better one counts. Every figure is
the median of the rounds, each in a process of its own. Writes bench/backbone.json.
"""

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path

from processes import Failure, last_line

HERE = Path(__file__).resolve().parent
PEERS = ["eager", "compile", "onnxruntime"]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, type=Path, help="the program experiments")
    parser.add_argument("--networks", nargs="+", default=["mbf", "iresnet18", "iresnet50"])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="time backbone.compute bf16 too; it does not count in the ratio")
    parser.add_argument("--output", type=Path, default=Path("bench/backbone.json"))
    options = parser.parse_args()
    print(f"{processor()}, {options.threads} threads, {options.rounds} rounds", flush=True)
    records = []
    for network in options.networks:
        for batch in options.batches:
            case = ["--network", network, "--batch", str(batch), "--threads", str(options.threads)]
            commands = {"ours": [str(options.ours), "backbone", "--json", *case]}
            if options.bf16:
                commands["ours_bf16"] = commands["ours"] + ["--compute", "bf16"]
            for peer in PEERS:
                commands[peer] = [sys.executable, str(HERE / "time_backbone.py"), peer, *case]
            results = {name: [] for name in commands}
            for _ in range(options.rounds):
                for name, command in commands.items():
                    try:
                        results[name].append(last_line(command))
                    except Failure as failure:
                        print(f"  {name}: {failure}", flush=True)
            record = {"network": network, "batch": batch}
            for task in ("training", "inference"):
                medians = {
                    name: statistics.median(run[task] for run in runs)
                    for name, runs in results.items()
                    if runs and task in runs[0]
                }
                best = max((value for name, value in medians.items() if name in PEERS), default=float("nan"))
                record[task] = medians | {"ratio": medians.get("ours", float("nan")) / best}
            record["peakBytes"] = {
                name: max(run["peakBytes"] for run in runs) for name, runs in results.items() if runs
            }
            records.append(record)
            for task in ("training", "inference"):
                row = "  ".join(f"{name} {value:.2f}" for name, value in record[task].items())
                print(f"{network} B={batch} {task}: {row}", flush=True)
            options.output.parent.mkdir(exist_ok=True)
            options.output.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
