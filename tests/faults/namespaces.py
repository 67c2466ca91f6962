"""Network namespaces: a worker's own loopback, whose link goes down and loses every packet.

A silent ``Proxy`` still acknowledges what it takes; here nothing does, and no socket is told. A
namespace has no name and is mounted nowhere, so it ends with its last thread, process and socket,
however those end.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Self, TypeVar

from app.cluster.ports import LOOPBACK

T = TypeVar("T")

ENTERED = "TILECHORD_FAULT_NAMESPACE"
"""Variable with the path of the namespace that a worker of the harness enters."""
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SIOCSIFFLAGS = 0x8914  # linux/sockios.h
_IFF_UP = 1


class Namespace:
    """A network namespace with nothing in it but a loopback; a thread of its own lives in it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="faults-namespace")
        try:
            self.path: str = self.run(_leave_the_hosts)
            """For ``enter``, from any process."""
            self.heal()
        except BaseException:
            self._thread.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, step: Callable[[], T]) -> T:
        """What *step* returns inside; a socket belongs to the namespace it was made in."""
        return self._thread.submit(step).result()

    def listener(self) -> socket.socket:
        """A socket that listens inside; any thread may accept from it."""
        return self.run(lambda: socket.create_server((LOOPBACK, 0)))

    def cut(self) -> None:
        """Lose every packet from now on."""
        self.run(lambda: _set_link(0))

    def heal(self) -> None:
        """Carry packets again; what was not acknowledged is sent again by its kernel."""
        self.run(lambda: _set_link(_IFF_UP))

    def close(self) -> None:
        """Leave it, healed: what its sockets still say on closing finds the other end."""
        self.heal()
        self._thread.shutdown()


@cache
def is_permitted() -> bool:
    """Whether this process may make namespaces; root of a Linux machine usually may."""
    try:
        Namespace().close()
    except (OSError, AttributeError):  # no capability; a libc without unshare
        return False
    return True


def enter(path: str) -> None:
    """Move this thread, and those it will start, into the namespace at *path*."""
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", namespace, _CLONE_NEWNET)
    finally:
        os.close(namespace)


def _leave_the_hosts() -> str:
    _call("unshare", _CLONE_NEWNET)
    return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


def _set_link(flags: int) -> None:
    """Give the loopback of this thread's namespace *flags*; its address and routes come with UP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags))


def _call(name: str, *arguments: int) -> None:
    """A system call of the C library; Python itself has these from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
