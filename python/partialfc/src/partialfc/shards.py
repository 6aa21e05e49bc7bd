"""The connections of a rank to the shards of its plan."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from .connection import Connection, checked_endpoint
from .errors import CONFIGURATION, INCARNATION, NOT_WELCOMED, MalformedMessage, Unreachable
from .frames import Tensor
from .keys import SocketKeys
from .messages import Hello, Plan, Refusal, StepReply, Welcome

log = logging.getLogger("partialfc")
_REPEAT_SECONDS, _SHORT_SECONDS, _ATTEMPTS = 2.0, 0.2, 30
_MESSAGES = 64
"""That are taken from one shard before the others have their turn."""


class Shard:
    """The connection to one shard, and whether it has welcomed this rank."""

    def __init__(self, connection: Connection, endpoint: str) -> None:
        self.connection, self.endpoint = connection, endpoint
        self.is_welcomed = self.answers_queries = False
        self.hello_at = 0.0


class ShardConnections:
    """The connections to all shards of the newest plan, by their numbers. For one thread.

    Args:
        keys: what is shown to shards.
        hello: makes the greeting.
    """

    def __init__(self, keys: SocketKeys | None, hello: Callable[[], Hello]) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._keys, self._hello = keys, hello
        self._shards: dict[int, Shard] = {}
        self.outdated = 0
        """How often a shard has refused the configuration that this rank was welcomed with."""

    def follow(self, plan: Plan) -> None:
        """Connects to the shards of a plan where they are now, and to no others.

        Raises:
            MalformedMessage: where a shard is said to be is no address.
        """
        wanted = {one.shard.number: one.endpoint for one in plan.shards if one.shard}
        for number, endpoint in wanted.items():
            try:
                checked_endpoint(endpoint)
            except Unreachable as error:
                raise MalformedMessage(f"the coordinator's plan has shard-{number} at an impossible place: {error}") from None
        if not wanted:
            return
        for number in [n for n, shard in self._shards.items() if wanted.get(n) != shard.endpoint]:
            self._shards.pop(number).connection.close()
        for number, endpoint in wanted.items():
            if number not in self._shards:
                self._shards[number] = Shard(Connection(self._context, endpoint, f"shard-{number}", self._keys), endpoint)

    def disconnect(self) -> None:
        """Closes all connections."""
        for shard in self._shards.values():
            shard.connection.close()
        self._shards.clear()

    def close(self) -> None:
        """Closes all connections for good."""
        self.disconnect()
        self._context.term()

    def welcomed(self, number: int) -> Shard | None:
        """A shard that requests can be sent to."""
        shard = self._shards.get(number)
        return shard if shard is not None and shard.is_welcomed else None

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What to poll."""
        return [shard.connection.socket for shard in self._shards.values()]

    @property
    def unreachable(self) -> dict[int, str]:
        """The shards that have not welcomed this rank, and where they are."""
        return {n: shard.endpoint for n, shard in self._shards.items() if not shard.is_welcomed}

    @property
    def moving(self) -> list[int]:
        """The shards from which a message is coming in, and those that cannot be asked."""
        return [n for n, shard in self._shards.items() if shard.connection.is_receiving or not shard.is_welcomed]

    def receive(self, now: float) -> Iterator[tuple[int, StepReply | Welcome | Refusal, list[Tensor]]]:
        """What has come in, for the attempt: answers, welcomes, and refusals that are not about the handshake.

        Raises:
            Unreachable: a shard does not let this rank in.
            MalformedMessage: a shard sent something else.
        """
        for number, shard in list(self._shards.items()):
            for _ in range(_MESSAGES):
                message = shard.connection.receive()
                if message is None:
                    break
                header, tensors = message
                body = header.body
                if isinstance(body, Welcome):
                    shard.is_welcomed, shard.answers_queries = True, body.answers_queries
                elif isinstance(body, Refusal) and body.code in (NOT_WELCOMED, INCARNATION):
                    # A shard that was restarted has forgotten this rank; one that has not joined itself lets nobody in yet.
                    shard.hello_at = now if shard.is_welcomed else now + _SHORT_SECONDS
                    shard.is_welcomed = False
                    continue
                elif isinstance(body, Refusal) and not shard.is_welcomed and body.code == CONFIGURATION and self.outdated < _ATTEMPTS:
                    # What is computed in may have been decided after the coordinator's welcome.
                    self.outdated += 1
                    shard.hello_at = now + 1
                    continue
                elif isinstance(body, Refusal) and not shard.is_welcomed:
                    raise Unreachable(f"{shard.connection.who} refuses this rank: {body.message} (code {body.code})")
                elif not isinstance(body, StepReply | Refusal):
                    continue
                yield number, body, tensors

    def who(self, number: int) -> str:
        """A shard's name and place."""
        return self._shards[number].connection.who

    def tick(self, now: float) -> None:
        """Says hello (again) where it is time, and looks after broken handshakes."""
        for shard in self._shards.values():
            if shard.connection.look_after():
                shard.is_welcomed, shard.hello_at = False, 0.0
                log.warning("%s %s", shard.connection.who, shard.connection.trouble)
            if not shard.is_welcomed and now >= shard.hello_at:
                shard.hello_at = now + _REPEAT_SECONDS
                shard.connection.send(self._hello())
