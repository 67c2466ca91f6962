from types import SimpleNamespace

import pytest

from app.admission import check_admission
from app.bootstrap import Runtime
from app.domain.errors import AdmissionError, BrokerUnavailableError, ModelError
from app.domain.spec import Priority
from app.entries import Entry
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore

REQUEST = read_request({"prompt": "a map", "model": "large", "tenant": "studio"})


class Cards:
    """A catalogue that knows one model, which needs 10 GB."""

    def card(self, name):
        if name != "large":
            raise ModelError(f"model {name!r} is not known")
        return SimpleNamespace(memory_gb=10.0, native_size=512, latent_scale=8)


class DeadBoard(MemoryBoard):
    def shown(self, topic):
        raise BrokerUnavailableError("results backend does not answer")


def runtime(board=None, **limits) -> Runtime:
    store = MemoryStore()
    chosen = Settings(broker_url="amqp://localhost//", **limits)
    return Runtime(chosen, store, JobLedger(store), Cards(), board or MemoryBoard())


def show_node(app, name, memory_gb, pool="gpu") -> None:
    record = {"node": name, "pid": 1, "pool": pool, "memory_gb": memory_gb}
    app.board.show("nodes", name, record, ttl_s=60)


def test_a_model_too_large_for_every_live_worker_is_refused_with_the_numbers():
    app = runtime()
    show_node(app, "w1@a", 8.0)
    show_node(app, "w2@a", 4.0)

    with pytest.raises(AdmissionError) as refusal:
        check_admission(app, REQUEST)

    assert str(refusal.value) == ("model large needs 10 GB, the largest of 2 live workers has 8 GB")
    assert refusal.value.reason == "no_worker_can_serve"
    assert not refusal.value.may_pass


def test_one_worker_that_is_large_enough_suffices():
    app = runtime()
    show_node(app, "w1@a", 8.0)
    show_node(app, "w2@a", 16.0)

    check_admission(app, REQUEST)


def test_a_worker_of_another_pool_neither_serves_nor_refuses():
    app = runtime()
    show_node(app, "control@a", 1.0, pool="control")

    check_admission(app, REQUEST)


def test_a_model_the_client_does_not_have_is_left_to_the_planner():
    app = runtime()
    show_node(app, "w1@a", 1.0)

    check_admission(app, read_request({"prompt": "a map", "model": "elsewhere"}))


def test_a_tenant_over_its_quota_is_refused_and_others_are_not():
    app = runtime(max_open_jobs_per_tenant=1)
    app.entries.add(Entry("job-1", 1, Priority.NORMAL, "studio"))

    with pytest.raises(AdmissionError) as refusal:
        check_admission(app, REQUEST)
    check_admission(app, REQUEST.model_copy(update={"tenant": "other"}))

    assert str(refusal.value) == "a tenant may have 1 open jobs, this one has 1"
    assert refusal.value.may_pass


def test_a_full_line_refuses_everyone():
    app = runtime(max_open_jobs=1)
    app.entries.add(Entry("job-1", 1, Priority.NORMAL, "other"))

    with pytest.raises(AdmissionError, match=r"^at most 1 jobs may be open, there are 1$"):
        check_admission(app, REQUEST)


def test_too_much_waiting_work_refuses_until_it_is_less():
    app = runtime(max_pending_s=60)
    app.board.show("pools", "gpu", {"pending_s": 90.0, "workers": 3, "ready": 4}, ttl_s=60)

    with pytest.raises(AdmissionError) as refusal:
        check_admission(app, REQUEST)
    assert str(refusal.value) == (
        "at most 60 s of work may wait, there are 90 s; try again in about 10 s"
    )
    assert (refusal.value.reason, refusal.value.retry_s) == ("queue_full", 10.0)
    app.board.show("pools", "gpu", {"pending_s": 30.0, "workers": 3, "ready": 4}, ttl_s=60)

    check_admission(app, REQUEST)


def test_a_silent_board_refuses_nothing():
    check_admission(runtime(DeadBoard(), max_pending_s=1), REQUEST)


@pytest.mark.parametrize("stage", ["base", "refine"])
def test_the_larger_of_a_jobs_two_models_counts(stage):
    app = runtime()
    show_node(app, "w1@a", 8.0)
    order = {"prompt": "a map", "model": "elsewhere", "models": {stage: "large"}}

    with pytest.raises(AdmissionError, match=r"^model large needs 10 GB"):
        check_admission(app, read_request(order))


def test_a_worker_that_does_not_know_its_memory_refuses_nothing():
    app = runtime()
    show_node(app, "w1@a", 0.0)

    check_admission(app, REQUEST)


BIGGER = {
    "pools": {"control": ["plan.*", "finish.*"], "gpu": ["#"], "large": [], "huge": []},
    "bigger_pool": {"gpu": "large", "large": "huge"},
}


@pytest.mark.parametrize(
    ("large_gb", "huge_gb"), [(16.0, 4.0), (9.0, 80.0)], ids=["the bigger pool", "the one after it"]
)
def test_what_fits_into_one_of_a_chain_of_bigger_pools_is_taken(large_gb, huge_gb):
    app = runtime(**BIGGER)
    show_node(app, "w1@a", 8.0)
    show_node(app, "l1@a", large_gb, pool="large")
    show_node(app, "h1@a", huge_gb, pool="huge")

    check_admission(app, REQUEST)


def test_bigger_pools_that_are_all_too_small_refuse_for_good():
    app = runtime(**BIGGER | {"bigger_pool": {"gpu": "large", "large": "gpu"}})
    show_node(app, "w1@a", 8.0)
    show_node(app, "l1@a", 9.0, pool="large")

    with pytest.raises(AdmissionError, match=r"the largest of 2 live workers has 9 GB$"):
        check_admission(app, REQUEST)


APART = {"pools": {"control": ["plan.*", "finish.*"], "layout": ["base.*"], "gpu": ["tile.*", "#"]}}


@pytest.mark.parametrize(
    ("stage", "layout_gb", "gpu_gb"), [("base", 16.0, 4.0), ("refine", 4.0, 16.0)]
)
def test_each_of_a_jobs_models_is_asked_of_the_pool_that_its_stage_goes_to(
    stage, layout_gb, gpu_gb
):
    app, order = runtime(**APART), {"prompt": "a map", "model": "elsewhere"}
    show_node(app, "b1@a", layout_gb, pool="layout")
    show_node(app, "w1@a", gpu_gb)
    other = {"base": "refine", "refine": "base"}[stage]

    check_admission(app, read_request(order | {"models": {stage: "large"}}))
    with pytest.raises(AdmissionError, match=r"^model large needs 10 GB"):
        check_admission(app, read_request(order | {"models": {other: "large"}}))


@pytest.mark.parametrize(
    "order",
    [{"mode": "phased"}, {"width": 512, "height": 512}, {"init_image": "inputs/sketch"}],
    ids=["mode", "one window", "picture"],
)
def test_a_job_without_a_base_picture_asks_nothing_of_the_pool_of_those(order):
    app = runtime(**APART)
    show_node(app, "b1@a", 4.0, pool="layout")
    show_node(app, "w1@a", 16.0)

    check_admission(app, read_request({"prompt": "a map", "model": "large"} | order))
    with pytest.raises(AdmissionError):
        check_admission(app, REQUEST)


def show_end(app, job_id, eta_s, tenant="studio") -> None:
    app.entries.add(Entry(job_id, 1, Priority.NORMAL, tenant))
    app.board.show("schedule", job_id, {"position": 0, "eta_s": eta_s}, ttl_s=60)


def test_a_full_line_is_asked_again_when_enough_of_its_jobs_will_have_ended():
    app = runtime(max_open_jobs=2)
    for job_id, eta_s in (("a", 300.0), ("b", 20.2), ("c", 90.0)):
        show_end(app, job_id, eta_s, tenant="other")

    with pytest.raises(AdmissionError, match=r"there are 3; try again in about 90 s$") as refusal:
        check_admission(app, REQUEST)

    assert refusal.value.retry_s == pytest.approx(90.0, abs=0.1)


def test_a_tenant_over_its_quota_waits_for_the_jobs_of_its_own():
    app = runtime(max_open_jobs_per_tenant=1)
    show_end(app, "a", 300.0)
    show_end(app, "b", 20.0, tenant="other")

    with pytest.raises(AdmissionError) as refusal:
        check_admission(app, REQUEST)

    assert refusal.value.retry_s == pytest.approx(300.0, abs=0.1)


def test_when_to_try_again_is_not_told_where_it_is_not_known():
    app = runtime(max_open_jobs=1)
    show_end(app, "a", None)
    idle = runtime(max_pending_s=60)
    idle.board.show("pools", "gpu", {"pending_s": 90.0, "workers": 0}, ttl_s=60)

    for full in (app, idle):
        with pytest.raises(AdmissionError, match=r"there are [^;]*$") as refusal:
            check_admission(full, REQUEST)
        assert refusal.value.retry_s is None
