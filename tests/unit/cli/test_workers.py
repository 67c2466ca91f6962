from app.cli.workers import _COLUMNS, _row
from app.nodes import CurrentStep, NodeRecord


def test_a_control_worker_is_listed_with_the_step_it_is_at():
    step = CurrentStep(job_id="job-1", label="merge 0 of image 2", image=2, elapsed_s=4.0)
    node = NodeRecord(node="control@a", pid=1, pool="control", step=step, age_s=0.5)

    cells = dict(zip(_COLUMNS, _row(node), strict=True))

    assert (cells["unit"], cells["since s"]) == ("merge 0 of image 2 of job-1", "4.5")


def test_an_idle_worker_is_listed_without_any():
    cells = dict(zip(_COLUMNS, _row(NodeRecord(node="w1@a", pid=1, pool="gpu")), strict=True))

    assert (cells["unit"], cells["since s"]) == ("-", "-")
