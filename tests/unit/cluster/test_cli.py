import os

import pytest
from typer.testing import CliRunner

from app.cluster import packages
from app.cluster import state as states
from app.cluster.cli import cli, main
from app.cluster.lifecycle import log_path
from app.cluster.process import identify
from app.cluster.state import Record, State


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments: str):
        return CliRunner().invoke(cli, [*arguments, "--folder", str(tmp_path)])

    return invoke


def test_status_of_nothing_says_how_to_start(run):
    told = run("status")

    assert told.exit_code == 1
    assert told.stdout == "nothing runs; start it with: make up\n"


def test_status_fails_when_one_service_is_gone(run, tmp_path):
    me = identify(os.getpid())
    here = Record("here", me, 0, {"http": 17600}, "", 1.0)
    gone = Record("gone", type(me)(me.pid, "earlier/1"), 0, {}, "", 1.0)
    states.save(tmp_path, State({"here": here, "gone": gone}))

    told = run("status")

    assert told.exit_code == 1
    assert [line.split()[:2] for line in told.stdout.splitlines()] == [
        ["here", "running"],
        ["gone", "gone"],
    ]


def test_logs_show_the_lines_asked_for(run, tmp_path):
    log_path(tmp_path, "a").parent.mkdir()
    log_path(tmp_path, "a").write_text("one\ntwo\nthree\n")

    assert run("logs", "a", "--lines", "2").stdout == "==> a <==\ntwo\nthree\n\n"
    assert run("logs", "b").stdout == "==> b <==\n-\n\n"


def test_down_of_nothing_is_quiet(run):
    told = run("down")

    assert told.exit_code == 0
    assert told.stdout == ""


def test_install_asks_for_exactly_what_is_missing(monkeypatch):
    asked = []
    monkeypatch.setattr(packages, "missing", lambda: [] if asked else ["redis-server"])
    monkeypatch.setattr(packages, "install", asked.append)

    told = CliRunner().invoke(cli, ["install"])

    assert asked == [["redis-server"]]
    assert told.stdout == "RabbitMQ, Redis and SeaweedFS are installed\n"


def test_a_damaged_state_is_one_sentence_and_the_code_of_a_setting(tmp_path, monkeypatch, capsys):
    (tmp_path / "state.json").write_text("{")
    monkeypatch.setattr("sys.argv", ["cluster", "status", "--folder", str(tmp_path)])

    with pytest.raises(SystemExit) as left:
        main()

    told = capsys.readouterr().err
    assert left.value.code == 3
    assert told.startswith(f"tilechord: cluster state {tmp_path}/state.json must be readable JSON")
