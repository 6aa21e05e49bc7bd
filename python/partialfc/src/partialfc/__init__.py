"""PartialFC for PyTorch: softmax heads with millions of classes, which live on the shards of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .client import Client
    from .errors import (
        AccumulationError,
        CommandRefused,
        ForkedError,
        JobDisagrees,
        JobOver,
        NoAnswer,
        NotFinite,
        PartialFCError,
        Refused,
        RunFailed,
        RunFinished,
        StepFailed,
        StepGone,
        Superseded,
        Unreachable,
        WeightError,
        WentBack,
        WrongConfiguration,
        WrongRate,
    )
    from .head import PartialFC
    from .job import Job
    from .keys import Keys
    from .weights import export_weight, import_weight

__all__ = [
    "AccumulationError",
    "Client",
    "CommandRefused",
    "ForkedError",
    "Job",
    "JobDisagrees",
    "JobOver",
    "Keys",
    "NoAnswer",
    "NotFinite",
    "PartialFC",
    "PartialFCError",
    "Refused",
    "RunFailed",
    "RunFinished",
    "StepFailed",
    "StepGone",
    "Superseded",
    "Unreachable",
    "WeightError",
    "WentBack",
    "WrongConfiguration",
    "WrongRate",
    "__version__",
    "export_weight",
    "import_weight",
]
_HOMES = {"Client": "client", "Job": "job", "Keys": "keys", "PartialFC": "head", "export_weight": "weights", "import_weight": "weights"}


def __getattr__(name: str) -> Any:
    # Nothing is imported before it is used: the process that keeps heartbeats going needs no torch.
    from importlib import import_module

    if name in __all__:
        return getattr(import_module("." + _HOMES.get(name, "errors"), __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
