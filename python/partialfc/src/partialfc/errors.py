"""What can go wrong, in words."""

from __future__ import annotations


class PartialFCError(Exception):
    """Every error of this package."""


class MalformedMessage(PartialFCError):
    """A peer sent bytes that are no message of this protocol."""


class KeyFileError(PartialFCError):
    """A key file cannot be used."""


class Unreachable(PartialFCError):
    """A server cannot be reached, or does not let this process in: another address, other keys, no server."""


class NoAnswer(PartialFCError, TimeoutError):
    """The deadline of a wait is over; the message says who is waited for."""


class Refused(PartialFCError):
    """A server refused a request.

    Attributes:
        code: its number in the protocol.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code}, {REFUSALS.get(code, 'unknown')})")
        self.code = code


class CommandRefused(PartialFCError):
    """The coordinator does not do what was ordered, and says why.

    Attributes:
        exit_code: that of the command `coordinator …`.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class WeightError(PartialFCError):
    """A file of weights cannot be read, or does not fit."""


class WrongConfiguration(PartialFCError):
    """The head's sizes, margins or rates are not those of the cluster."""


class WrongRate(PartialFCError, ValueError):
    """The learning rate of the head's group is no number from 0 up, or differs from rank to rank."""


class JobOver(PartialFCError):
    """This start of the job cannot go on; the process must begin anew from a checkpoint, or end."""


class WentBack(JobOver):
    """The cluster has gone back to a step before those that this process could give again.

    Load the checkpoint of that step, or an older one, and start the job again.

    Attributes:
        step: the last step that the cluster holds, -1 for none.
    """

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


class Superseded(JobOver):
    """Another start of the job has taken over, or an operator has gone back."""


class JobDisagrees(JobOver):
    """The ranks contradict each other, or their number does not divide the micro-batches."""


class StepGone(JobOver):
    """The cluster cannot go back to the step of the checkpoint; the message names those that it can."""


class RunFinished(JobOver):
    """The run is over: an operator stopped it, or all of its steps are done."""


class RunFailed(JobOver):
    """The coordinator has given the run up; the message says why."""


class StepFailed(PartialFCError):
    """A shard refuses what was sent for a step; sending it again would not help."""


class NotFinite(PartialFCError, FloatingPointError):
    """A step with features that are not finite was about to be kept."""


class AccumulationError(PartialFCError):
    """The head was called twice without a step of the optimiser or a `zero_grad` between."""


class ForkedError(PartialFCError):
    """A head is used in a process that was forked from the one that made it."""


REFUSALS = {
    1: "malformed", 2: "protocolVersion", 3: "clusterID", 4: "embeddingSize", 5: "classCount", 6: "configuration",
    7: "labelOutOfRange", 8: "notFinite", 9: "mapVersion", 10: "incarnation", 11: "tooLarge", 12: "notWelcomed", 13: "stateLost",
    14: "instructionSet", 15: "unknownRequest", 16: "internalError", 17: "unresponsive", 18: "drained", 19: "forbidden", 20: "busy",
    21: "superseded", 22: "jobDisagrees", 23: "stepGone", 24: "abandoned",
}  # fmt: skip

CONFIGURATION, INCARNATION, NOT_WELCOMED, INTERNAL, UNRESPONSIVE, FORBIDDEN, BUSY = 6, 10, 12, 16, 17, 19, 20
SUPERSEDED, JOB_DISAGREES, STEP_GONE, ABANDONED = 21, 22, 23, 24


def refusal(code: int, message: str) -> PartialFCError:
    """The exception for a refusal."""
    message = message or "it was refused without a word"
    kinds: dict[int, type[JobOver]] = {SUPERSEDED: Superseded, JOB_DISAGREES: JobDisagrees, STEP_GONE: StepGone}
    if code in kinds:
        return kinds[code](message)
    if code in (4, 5, 6):
        return WrongConfiguration(message)
    return Refused(code, message)
