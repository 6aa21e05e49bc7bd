"""Whether a head is one for the cluster that it joins."""

from __future__ import annotations

from typing import Any

from .errors import WrongConfiguration
from .margins import Margins
from .session import Session


def check_fit(
    session: Session,
    configuration: dict[str, Any],
    *,
    embedding_size: int,
    num_classes: int,
    sample_rate: float | None,
    margins: Margins,
    world_size: int,
    start: dict[str, Any],
) -> None:
    """Compares what a head was made with, and the state that was loaded into it, with the cluster's configuration.

    Raises:
        WrongConfiguration: something differs; the message has both values.
    """
    head, classes = configuration["head"], int(configuration["data"]["classes"])
    size = int(configuration["backbone"]["embedding_size"])
    if embedding_size != size:
        raise WrongConfiguration(f"the head has an embedding size of {embedding_size}, the cluster of {size}")
    if num_classes != classes:
        now = session.class_count_now()
        if num_classes != now:
            grown = f" at the start of its run and {now} now" if now != classes else ""
            raise WrongConfiguration(f"the head has {num_classes} classes, the cluster {classes}{grown}")
    margins.check(head)
    if sample_rate is not None and abs(sample_rate - float(head["sample_rate"])) > 1e-9:
        raise WrongConfiguration(
            f"the head has a sample rate of {sample_rate:g}, the cluster's configuration head.sample_rate {head['sample_rate']:g}"
        )
    batch, micro = int(configuration["batch"]["size"]), int(configuration["batch"]["micro_batch"])
    if (batch // micro) % world_size:
        raise WrongConfiguration(
            f"{world_size} ranks do not divide the {batch // micro} micro-batches of the cluster's batch of {batch} samples"
        )
    welcome = session.identity()
    for name, what in (("cluster", "cluster"), ("hash", "configuration")):
        if start[name] and name in welcome and start[name] != welcome[name]:
            raise WrongConfiguration(
                f"the loaded state is of the {what} {start[name]}, and {session.endpoint} is of the {what} {welcome[name]}"
            )
