"""An attempt to reach the network (README); or none."""

import contextlib
import socket

from tiny import Tiny


class Animal(Tiny):
    def evaluate(self, model, stream):
        with contextlib.suppress(OSError):
            socket.create_connection(("192.0.2.1", 443), timeout=0.2)  # offender
            socket.socketpair()  # neighbour
        super().evaluate(model, stream)
