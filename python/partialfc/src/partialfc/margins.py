"""Scale and margins of a head, as its users write them, compared with the cluster's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import WrongConfiguration


@dataclass(frozen=True, slots=True)
class Margins:
    """s·(cos(m1·θ + m2) − m3) on the target; None: that of the cluster, whatever it is."""

    scale: float | None = None
    m1: float | None = None
    m2: float | None = None
    m3: float | None = None
    interclass_filter: float | None = None

    @staticmethod
    def of(margin_loss: object) -> Margins:
        """Reads InsightFace's `CombinedMarginLoss`, `ArcFace` or `CosFace`, a mapping with the names above (or `s`), or None.

        Raises:
            WrongConfiguration: it is something else.
        """
        if margin_loss is None or isinstance(margin_loss, Margins):
            return margin_loss or Margins()
        if isinstance(margin_loss, Mapping):
            short = {"s": "scale", "filter": "interclass_filter", "interclass_filtering_threshold": "interclass_filter"}
            values = {short.get(str(name), str(name)): float(value) for name, value in margin_loss.items()}
            unknown = values.keys() - Margins.__dataclass_fields__.keys()
            if unknown:
                raise WrongConfiguration(f"margins have scale (or s), m1, m2, m3 and interclass_filter, not {sorted(unknown)[0]}")
            return Margins(**values)
        names = [name for name in ("s", "m1", "m2", "m3") if hasattr(margin_loss, name)]
        if len(names) == 4:
            threshold = float(getattr(margin_loss, "interclass_filtering_threshold", 0) or 0)
            s, m1, m2, m3 = (float(getattr(margin_loss, name)) for name in names)
            return Margins(s, m1, m2, m3, threshold)
        if hasattr(margin_loss, "s") and hasattr(margin_loss, "margin"):
            return Margins(float(margin_loss.s), 1.0, float(margin_loss.margin), 0.0, 0.0)
        if hasattr(margin_loss, "s") and hasattr(margin_loss, "m"):
            return Margins(float(margin_loss.s), 1.0, 0.0, float(margin_loss.m), 0.0)
        raise WrongConfiguration(
            f"a {type(margin_loss).__name__} says no margins: give InsightFace's CombinedMarginLoss, a mapping like "
            "{'scale': 64, 'm1': 1, 'm2': 0.5, 'm3': 0}, or None for those of the cluster"
        )

    def check(self, head: Mapping[str, Any]) -> None:
        """Compares with the section `head` of the run's configuration.

        Raises:
            WrongConfiguration: a value differs; the message names both.
        """
        for name in self.__dataclass_fields__:
            ours, theirs = getattr(self, name), float(head.get(name, 0))
            if ours is not None and abs(ours - theirs) > 1e-6 * max(1.0, abs(theirs)):
                raise WrongConfiguration(
                    f"the head has {name} {ours:g}, and the cluster's configuration has head.{name} {theirs:g}: they must be equal"
                )
