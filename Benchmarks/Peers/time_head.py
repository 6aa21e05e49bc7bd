#!/usr/bin/env python3
"""Times the steps of one PyTorch variant in this process and prints one line of JSON."""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from dense_head import DenseHead
from head_case import Case
from sparse_head import SparseHead

WARM_UP_STEPS = 2


def resident_bytes() -> int:
    """The largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


VARIANTS: dict[str, Callable[[Case], DenseHead | SparseHead]] = {
    "dense": DenseHead,
    "sparse": SparseHead,
    "sparse-f32": partial(SparseHead, kind=torch.float32),
}


def step_milliseconds(head: DenseHead | SparseHead, case: Case) -> float:
    """The time of one step, sampling included, on a fresh batch."""
    labels = torch.randint(case.classes, (case.batch,))
    features = torch.randn(case.batch, case.embedding_size)
    start = time.perf_counter()
    head.step(features, labels, head.sample(labels))
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=list(VARIANTS))
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--sample-rate", type=float, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    start_bytes = resident_bytes()
    case = Case(options.classes, options.sample_rate)
    head = VARIANTS[options.variant](case)
    times = [step_milliseconds(head, case) for _ in range(WARM_UP_STEPS + options.repetitions)]
    figures = {
        "milliseconds": statistics.median(times[WARM_UP_STEPS:]),
        "residentBytes": resident_bytes(),
        "startBytes": start_bytes,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
