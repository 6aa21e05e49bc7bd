#!/usr/bin/env python3
"""Measures networks in use at 112×112 beside onnxruntime and ncnn, in one run, in turn: milliseconds of a batch.

Here: single precision, INT8 and INT7. onnxruntime: float, INT8 with unsigned and with signed activations (static, per channel).
ncnn: float. Every figure is the median of the rounds, each in a process of its own; ratios are to the fastest peer in integers.
Writes bench/int8.json.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from bench_backbone import processor
from processes import Failure, last_line

HERE = Path(__file__).resolve().parent
OURS = {"ours f32": 0, "ours int8": 8, "ours int7": 7}
PEERS = ["onnxruntime f32", "onnxruntime u8s8", "onnxruntime s8s8", "ncnn f32"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, type=Path, help="the program experiments")
    parser.add_argument("--networks", nargs="+", default=["mbf", "iresnet18", "iresnet50"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/int8.json"))
    options = parser.parse_args()
    print(f"{processor()}, {options.rounds} rounds; milliseconds of a batch", flush=True)
    records = []
    for network in options.networks:
        for batch in options.batches:
            for threads in options.threads:
                case = ["--network", network, "--batch", str(batch), "--threads", str(threads)]
                commands = {
                    name: [str(options.ours), "inference", "--json", "--bits", str(bits), *case]
                    for name, bits in OURS.items()
                }
                for peer in PEERS:
                    commands[peer] = [sys.executable, str(HERE / "time_inference.py"), *peer.split(), *case]
                results = {name: [] for name in commands}
                for _ in range(options.rounds):
                    for name, command in list(commands.items()):
                        try:
                            results[name].append(last_line(command)["milliseconds"])
                        except Failure as failure:
                            print(f"  {name}: {failure}", flush=True)
                            del commands[name]
                medians = {name: statistics.median(runs) for name, runs in results.items() if runs}
                integers = [value for name, value in medians.items() if "s8" in name]
                floats = [value for name, value in medians.items() if name in PEERS and "f32" in name]
                ratios = {}
                if integers:
                    ratios |= {name: medians[name] / min(integers) for name in ("ours int8", "ours int7") if name in medians}
                if floats and "ours f32" in medians:
                    ratios["ours f32"] = medians["ours f32"] / min(floats)
                records.append({"network": network, "batch": batch, "threads": threads} | medians | {"ratios": ratios})
                row = "  ".join(f"{name} {value:.2f}" for name, value in medians.items())
                ratio = "  ".join(f"{name[5:]} {value:.2f}" for name, value in ratios.items())
                print(f"{network} B={batch} {threads} threads: {row}; ratios {ratio}", flush=True)
                options.output.parent.mkdir(exist_ok=True)
                options.output.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
