"""A connection that a server ends."""

from __future__ import annotations

import threading

import zmq
from conftest import wait_until

from partialfc import messages as m
from partialfc.connection import Connection


def test_what_is_sent_after_a_refused_handshake_is_lost_and_does_not_wait() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.setsockopt(zmq.LINGER, 0)
        server.curve_publickey, server.curve_secretkey = zmq.curve_keypair()
        server.curve_server = True
        port = server.bind_to_random_port("tcp://127.0.0.1")
        connection = Connection(context, f"tcp://127.0.0.1:{port}", "the server")

        def send() -> None:
            for _ in range(5):
                connection.send(m.ReadClasses())
                connection.socket.poll(100)

        wait_until(lambda: bool(connection.look_after() or connection.trouble))
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(10)
        assert not sender.is_alive()
        assert "wants keys" in connection.trouble
        connection.close()
