import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import settings
from app.telemetry import __main__

ROOT = Path(__file__).parents[3]
BROKER = {"TILECHORD_BROKER_URL": "amqp://127.0.0.1:1"}


def exporter(*arguments, **env):
    inherited = {name: value for name, value in os.environ.items() if "TILECHORD" not in name}
    return subprocess.run(
        [sys.executable, "-m", "app.telemetry", *arguments],
        cwd=ROOT,
        env=inherited | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(autouse=True)
def forget_settings(monkeypatch):
    """Settings as the test sets them, in this process too; its logs stay pytest's."""
    for name in [name for name in os.environ if name.startswith("TILECHORD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(__main__, "set_up_logging", lambda *_: None)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("env", "arguments", "sentence"),
    [
        ({"TILECHORD_METRICS_PORT": "many"}, [], "TILECHORD_METRICS_PORT: "),
        ({}, [], "TILECHORD_BROKER_URL is not set: there are no queues to show\n"),
        (BROKER, ["--port", "70000"], "metrics cannot be served on 127.0.0.1:70000: "),
    ],
    ids=["wrong setting", "no broker", "no such port"],
)
def test_what_cannot_be_served_is_one_sentence_and_the_code_of_a_setting(
    env, arguments, sentence, monkeypatch, capsys
):
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    code = __main__.main(arguments)

    told = capsys.readouterr().err
    assert code == 3
    assert told.startswith(f"tilechord: {sentence}")
    assert told.count("\n") == 1


def test_a_taken_port_is_one_sentence():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        told = exporter("--port", str(port), **BROKER)

    assert (told.returncode, told.stderr) == (
        3,
        f"tilechord: metrics cannot be served on 127.0.0.1:{port}: "
        "[Errno 98] Address already in use\n",
    )
