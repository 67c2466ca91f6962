"""Connections that publish: what they wait for has a limit, their farewell included.

A broker under a memory alarm takes what is published and neither confirms it nor answers
anything else on that connection. Closing a channel and a connection in words would each cost
the limit once more.
"""

from __future__ import annotations

from kombu.transport import pyamqp


class _Connection(pyamqp.Connection):
    def drain_events(self, timeout: float | None = None) -> None:
        try:
            super().drain_events(timeout)
        except TimeoutError:
            if timeout is None:  # its own limit, not that of somebody who only had a look
                self.collect()
            raise


class SendingTransport(pyamqp.Transport):
    """Drops a connection whose broker has not answered in time."""

    Connection = _Connection


class SecureSendingTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = _Connection
