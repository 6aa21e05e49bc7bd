"""Packets between a trainer's process and its link process, over a socket pair."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

START, MESSAGE, BEAT, WILL, LEAVE, TROUBLE = b"S", b"M", b"B", b"W", b"L", b"T"
"""What a packet is: how to connect (JSON); a header to or from the coordinator; the heartbeat to send, after its interval in
milliseconds (4 bytes); the farewell to send if the trainer ends without a word; the farewell to send now; why a handshake failed."""


_READS = 256
"""Of 64 KiB each, that are made at a time."""


class PacketStream:
    """One end of the socket pair. Reading never waits, writing does."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._arrived = bytearray()
        self.is_open = True

    def send(self, kind: bytes, content: bytes) -> None:
        """Writes a packet; does nothing if the other end is gone."""
        try:
            self.end.settimeout(10)
            self.end.sendall(struct.pack("<I", len(content)) + kind + content)
        except OSError:
            self.is_open = False

    def receive(self) -> Iterator[tuple[bytes, bytes]]:
        """The packets that have arrived: kind and content."""
        try:
            self.end.settimeout(0)
            for _ in range(_READS):
                data = self.end.recv(1 << 16)
                if not data:
                    self.is_open = False
                    break
                self._arrived += data
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False
        while len(self._arrived) >= 5:
            (length,) = struct.unpack_from("<I", self._arrived)
            if len(self._arrived) < 5 + length:
                return
            kind, content = bytes(self._arrived[4:5]), bytes(self._arrived[5 : 5 + length])
            del self._arrived[: 5 + length]
            yield kind, content
