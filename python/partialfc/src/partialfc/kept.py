"""The inputs of steps that may have to be given again."""

from __future__ import annotations

from collections.abc import Iterator

from .messages import Plan
from .turn import Turn

KEPT_BYTES = 2 << 30
"""Inputs of steps that are not safe yet are kept up to this many bytes; beyond it the oldest are dropped."""


class KeptTurns:
    """Turns by step, from the oldest that the cluster may lose to the one under way."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._turns: dict[int, Turn] = {}
        self._limit = limit

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns.values())

    def __len__(self) -> int:
        return len(self._turns)

    def put(self, turn: Turn) -> None:
        """Keeps a turn."""
        self._turns[turn.step] = turn

    def get(self, step: int) -> Turn | None:
        """The turn of a step."""
        return self._turns.get(step)

    def drop(self, turn: Turn) -> None:
        """Forgets a turn that was thrown away."""
        if self._turns.get(turn.step) is turn:
            del self._turns[turn.step]

    def follow(self, plan: Plan) -> None:
        """Notes what is committed, and forgets what every shard holds durably."""
        for turn in self._turns.values():
            if turn.is_kept and turn.step <= plan.committed:
                turn.is_committed = True
                # The id of an attempt has a term; what was committed without one is a step that the shards have left out.
                skipped = turn.step == plan.committed and plan.committed_id is not None and plan.committed_id.term == 0
                turn.is_skipped = turn.is_skipped or skipped
        for step in [step for step, turn in self._turns.items() if turn.is_committed and step <= plan.safe]:
            del self._turns[step]
        while sum(turn.byte_count for turn in self._turns.values()) > self._limit:
            oldest = min(self._turns)
            if not self._turns[oldest].is_committed:
                return
            del self._turns[oldest]
