"""Ending with the process that started this one, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "TILECHORD_PARENT_PID"
"""Variable by which a process tells one that it starts to end with it; no setting."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent() -> None:
    """Let the kernel send this process SIGTERM once the parent that asked for it has ended.

    That stays so across ``exec``. Only Linux can do it; elsewhere nothing happens.
    """
    pid = os.environ.pop(PARENT, "")  # what this process starts has another parent
    if not pid or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != pid:  # it ended before it could be watched
        os.kill(os.getpid(), signal.SIGTERM)
