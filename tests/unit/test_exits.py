import subprocess
import sys

import pytest

from app.domain import errors
from app.exits import ExitCode, exit_code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.LimitExceededError, ExitCode.USAGE),
        (errors.InvalidPlanError, ExitCode.USAGE),
        (errors.UnsupportedError, ExitCode.USAGE),
        (errors.ConfigurationError, ExitCode.CONFIGURATION),
        (errors.ModelError, ExitCode.CONFIGURATION),
        (errors.StorageUnavailableError, ExitCode.UNREACHABLE),
        (errors.BrokerUnavailableError, ExitCode.UNREACHABLE),
        (errors.NotFoundError, ExitCode.NOT_FOUND),
        (errors.RenderFailedError, ExitCode.FAILED),
        (errors.RenderCancelledError, ExitCode.FAILED),
        (errors.CorruptBlobError, ExitCode.FAILED),
        (errors.DeviceOutOfMemoryError, ExitCode.FAILED),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else value.name,
)
def test_each_kind_of_error_has_its_exit_code(kind, code):
    assert exit_code(kind("why")) is code


def test_the_process_ends_at_once_with_a_status_that_asks_for_a_restart():
    program = (
        "import atexit; from app.exits import exit_for_good\n"
        "atexit.register(print, 'tidied up'); exit_for_good()"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (75, b"")
