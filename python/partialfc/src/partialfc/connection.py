"""Sockets to the servers: how they are set up, requests, fragments, and what is wrong when there is no answer."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from .errors import NoAnswer, Unreachable, refusal
from .frames import Assembler, Tensor, frames
from .keys import SocketKeys
from .messages import Header, Plan, Refusal, StandingBy

_STANDBY_PAUSE = 0.3
"""Seconds before the next server is asked where one stands by."""
_FRAME_BYTES = 64 << 20
"""A longer frame ends the connection before it is read."""
_WAITING_FRAMES = 1000
"""Messages and frames that ZeroMQ keeps for this process before the server has to wait."""
_PARTS = 256
"""That are read at a time, so that whoever sends without end keeps nobody from looking at the clock."""
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


def routing_id() -> bytes:
    """By which a server knows a client again: 16 random bytes, the first of which is not 0."""
    return bytes([secrets.randbelow(255) + 1]) + secrets.token_bytes(15)


def checked_endpoints(endpoints: str) -> list[str]:
    """The addresses of a server: one, or of a coordinator and its standby both, with a comma between them.

    Raises:
        Unreachable: one is neither `tcp://host:port` nor `ipc://path`.
    """
    return [checked_endpoint(endpoint) for endpoint in endpoints.split(",")]


def checked_endpoint(endpoint: str) -> str:
    """The address of one server.

    Raises:
        Unreachable: it is neither `tcp://host:port` nor `ipc://path`.
    """
    tcp = re.fullmatch(r"tcp://(\[[^\]\s,]+\]|[^\s,:/\[\]]+):([0-9]{1,5})", endpoint)
    if re.fullmatch(r"ipc://[^\s,]+", endpoint) or (tcp and 0 < int(tcp.group(2)) < 65536):
        return endpoint
    raise Unreachable(f'"{endpoint}" is no address of a server, which looks like tcp://host:port')


class Connection:
    """A DEALER socket to one server. For one thread.

    Args:
        context: of the process that uses the connection.
        endpoint: `tcp://host:port` or `ipc://path`; of a coordinator and its standby both, with a comma between them.
        who: the server, for messages.
        keys: what is shown to it; None: nothing.
        identity: as `routing_id`, if the same one is to be used again.
    """

    def __init__(
        self, context: zmq.Context[Any], endpoint: str, who: str, keys: SocketKeys | None = None, identity: bytes | None = None
    ) -> None:
        self._endpoints, self._role, self._keys = endpoint.split(","), who, keys
        self._context, self._identity = context, identity or routing_id()
        self._request = self._series = 0
        self._assembler = Assembler()
        self.trouble = ""
        """Why the server does not let this process in, as far as that is known."""
        self._open()

    @property
    def endpoint(self) -> str:
        """Where it is connected to, or tries to be."""
        return self._endpoints[0]

    @property
    def who(self) -> str:
        """The server, for messages."""
        return f"{self._role} at {self.endpoint}"

    @property
    def has_others(self) -> bool:
        """Whether there is another server to go on to."""
        return len(self._endpoints) > 1

    def move_on(self) -> None:
        """Connects to the next server. What the one before was sent is not answered."""
        self._endpoints.append(self._endpoints.pop(0))
        self.trouble = ""
        self._reopen()

    def _reopen(self) -> None:
        self.close()
        self._assembler = Assembler()
        self._open()

    def _open(self) -> None:
        try:
            socket = self._context.socket(zmq.DEALER)
        except zmq.ZMQError as error:
            raise Unreachable(f"there is no room for a connection to {self.who}: {error}") from None
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, _WAITING_FRAMES)
        socket.setsockopt(zmq.MAXMSGSIZE, _FRAME_BYTES)
        socket.setsockopt(zmq.ROUTING_ID, self._identity)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
        if hasattr(zmq, "TCP_MAXRT"):
            socket.setsockopt(zmq.TCP_MAXRT, 30000)
        if self._keys:
            self._keys.apply(socket)
        self.socket = socket
        self._monitor = socket.get_monitor_socket(_FAILURES | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            socket.connect(self.endpoint)
        except (zmq.ZMQError, ValueError) as error:
            # Else the context would wait for it for ever.
            self.close()
            raise Unreachable(f'"{self.endpoint}" is no address of a server, which looks like tcp://host:port: {error}') from None
        self._opened = time.monotonic()

    def close(self, linger: int = 0) -> None:
        """Closes the socket, after up to `linger` milliseconds for what is still to be sent."""
        if self.socket.closed:
            return
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(linger)

    @property
    def is_receiving(self) -> bool:
        """Whether fragments of a message are coming in."""
        return self._assembler.is_receiving

    def send(self, body: Any, tensors: Sequence[Tensor] = (), request: int | None = None) -> int:
        """Sends a message, under a new number if none is given; the number."""
        if request is None:
            self._request += 1
            request = self._request
        self._series += 1
        for parts in frames(Header(request=request, body=body), tensors, self._series):
            self.post(parts)
        return request

    def post(self, parts: Sequence[Any]) -> None:
        """Sends a message without waiting. It is lost if the server has ended the connection, which is opened again in a moment."""
        try:
            self.socket.send_multipart(parts, flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            # The socket has no connection left, and would wait for one for ever.
            self.trouble = self.trouble or "has ended the connection"

    def receive(self) -> tuple[Header, list[Tensor]] | None:
        """The next whole message, None if there is none yet, or after many frames that end none. Never waits.

        Raises:
            MalformedMessage: the server sent something else.
        """
        for _ in range(_PARTS):
            try:
                parts = self.socket.recv_multipart(flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            message = self._assembler.take([part.buffer for part in parts])
            if message:
                return message
        return None

    def look_after(self) -> bool:
        """Notes why handshakes fail, and connects again after one, which ZeroMQ does not do by itself. Whether it did."""
        failed = False
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event & _FAILURES:
                failed = True
                self.trouble = (
                    "does not accept this key, or is of another cluster"
                    if self._keys
                    else "wants keys, and this process has none (keys='DIRECTORY', or PARTIALFC_KEYS); or it is no PartialFC server"
                )
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.trouble = ""
        if (failed or self.trouble) and time.monotonic() - self._opened > 1:
            self._reopen()
            return True
        return False

    def ask(self, body: Any, tensors: Sequence[Tensor] = (), *, deadline: float = 30, again: float = 2) -> tuple[Any, list[Tensor]]:
        """Sends a request and waits for its answer, repeating it every `again` seconds; body and tensors of the answer.

        Raises:
            NoAnswer: none came within `deadline` seconds.
            Unreachable: the server does not let this process in.
            Refused: the server refused, or another error that a refusal stands for.
        """
        end, repeat = time.monotonic() + deadline, time.monotonic() + again
        numbers = {self.send(body, tensors)}
        while True:
            now = time.monotonic()
            if now >= end:
                if self.trouble:
                    raise Unreachable(f"{self.who} {self.trouble}")
                raise NoAnswer(f"{self.who} has not answered for {deadline:g} s")
            self.socket.poll(int(1000 * min(0.2, end - now, max(0.0, repeat - now))) + 1)
            while time.monotonic() < end and (message := self.receive()):
                header, answer = message
                if header.request not in numbers or isinstance(header.body, Plan):
                    continue
                if isinstance(header.body, StandingBy):
                    if not self.has_others:
                        raise Unreachable(f"{self.who} does not coordinate: {header.body.message}")
                    time.sleep(_STANDBY_PAUSE)
                    self.move_on()
                    repeat = 0.0
                    break
                if isinstance(header.body, Refusal):
                    raise refusal(header.body.code, f"{self.who}: {header.body.message}")
                return header.body, answer
            if repeat and time.monotonic() >= repeat and self.has_others:
                self.move_on()
            if self.look_after() or time.monotonic() >= repeat:
                numbers.add(self.send(body, tensors))
                repeat = time.monotonic() + again
