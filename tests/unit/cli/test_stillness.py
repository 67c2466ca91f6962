"""Jobs that nobody serves: whoever follows one is told, once."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from app.attendance import absence
from app.bootstrap import Runtime, runtime
from app.cli import following, stillness
from app.cli.following import BarReporter, LineReporter, follow
from app.cli.stillness import STILL_S, Stillness
from app.domain.errors import BrokerUnavailableError, RenderCancelledError
from app.domain.plan import RenderPlan
from app.domain.work import Progress, Stage
from app.jobs import JobState, JobStatus
from app.live.memory import MemoryBoard
from app.nodes import NODES
from app.settings import Settings
from tests.support.clock import HandClock
from tests.support.installation import Installation
from tests.unit.cli.test_fetch import accept

CONTROL = "no control worker is alive: nothing is planned or given out"
RENDERER = "no worker of pool gpu is alive: its work waits for one"


def show(board: MemoryBoard, *pools: str) -> None:
    for pool in pools:
        board.show(NODES, pool, {"node": pool, "pid": 1, "pool": pool}, ttl_s=600)


def clustered(clock: HandClock, **fields: object) -> Runtime:
    """This installation's runtime as a client of a cluster has it, its board empty."""
    chosen = Settings(broker_url="amqp://127.0.0.1:1", **fields)  # type: ignore[arg-type]
    return replace(runtime(), settings=chosen, board=MemoryBoard(clock))


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def plan(installation: Installation) -> RenderPlan:
    return accept()


@pytest.mark.parametrize(
    ("pools", "stage", "said"),
    [
        ([], Stage.TILE, CONTROL),
        (["gpu"], Stage.TILE, CONTROL),
        (["control"], Stage.TILE, RENDERER),
        (["control"], Stage.MERGE, ""),
        (["control"], None, ""),
        (["control", "gpu"], Stage.TILE, ""),
        (["control,gpu"], Stage.TILE, ""),
    ],
    ids=["nobody", "renderers alone", "control alone", "merging", "ending", "both", "one of both"],
)
def test_who_is_missing_follows_from_what_is_next(
    plan: RenderPlan, clock: HandClock, pools: list[str], stage: Stage | None, said: str
) -> None:
    app = clustered(clock)
    show(app.board, *pools)  # type: ignore[arg-type]

    assert absence(app, plan, stage) == said


def test_a_job_without_a_plan_waits_for_control_workers_alone(
    plan: RenderPlan, clock: HandClock
) -> None:
    app = clustered(clock)

    assert absence(app, None, None) == CONTROL
    show(app.board, "control")  # type: ignore[arg-type]
    assert absence(app, None, None) == ""


def test_a_worker_that_has_been_silent_is_not_alive(plan: RenderPlan, clock: HandClock) -> None:
    app = clustered(clock)
    show(app.board, "control", "gpu")  # type: ignore[arg-type]

    clock.now_s += 7

    assert absence(app, plan, Stage.TILE) == CONTROL


def test_a_bigger_pool_may_take_over(plan: RenderPlan, clock: HandClock) -> None:
    pools = {"control": ["plan.*", "finish.*"], "gpu": ["*.*"], "big": []}
    app = clustered(clock, pools=pools, bigger_pool={"gpu": "big"})
    show(app.board, "control", "big")  # type: ignore[arg-type]

    assert absence(app, plan, Stage.TILE) == ""


def test_a_board_that_does_not_answer_says_nothing(
    plan: RenderPlan, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = clustered(clock)

    def shown(topic: str) -> None:
        raise BrokerUnavailableError("no answer")

    monkeypatch.setattr(app.board, "shown", shown)

    assert absence(app, plan, Stage.TILE) == ""


def at(done: int) -> JobStatus:
    return JobStatus("job-1", JobState.RUNNING, "abc", Progress(done, 9, Stage.TILE))


def test_the_reason_is_said_after_a_while_and_once(clock: HandClock) -> None:
    still, said = Stillness(lambda _: RENDERER, clock), []

    for _ in range(100):
        said.append(still.look(at(1)))
        clock.now_s += 1

    assert said[: int(STILL_S)] == [""] * int(STILL_S)
    assert [line for line in said if line] == [RENDERER]


def test_a_job_that_moves_on_is_not_asked_about(clock: HandClock) -> None:
    still = Stillness(lambda _: RENDERER, clock)

    for done in range(100):
        assert still.look(at(done)) == ""
        clock.now_s += 1


def test_another_reason_is_said_too(clock: HandClock) -> None:
    reasons = iter([CONTROL, CONTROL, "", CONTROL, RENDERER])
    still, said = Stillness(lambda _: next(reasons), clock), []

    for _ in range(5):
        clock.now_s += STILL_S
        said.append(still.look(None))

    assert said == [CONTROL, "", "", CONTROL, RENDERER]


def test_whoever_follows_in_a_pipe_is_told(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accept()
    app = clustered(HandClock())
    monkeypatch.setattr(following, "runtime", lambda: app)
    monkeypatch.setattr(stillness, "STILL_S", 0.0)
    # In this module alone: other threads of this process sleep too.
    cancelling = {"sleep": lambda _: app.ledger.cancel("job-1")}
    monkeypatch.setattr(following, "time", SimpleNamespace(**vars(time) | cancelling))

    with pytest.raises(RenderCancelledError):
        follow("job-1")

    assert capsys.readouterr().err.splitlines()[-1] == CONTROL


def test_quiet_is_quiet_and_a_bar_stays_below(capsys: pytest.CaptureFixture[str]) -> None:
    LineReporter(is_quiet=True).tell(CONTROL)
    assert capsys.readouterr().err == ""

    with BarReporter() as board:
        board.tell(RENDERER)

    assert capsys.readouterr().err.startswith(RENDERER)
