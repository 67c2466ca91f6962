"""What is refused by what live workers tell of their folders."""

import pytest

from app.admission import check_admission
from app.domain.errors import AdmissionError
from app.schemas import read_request
from tests.unit.test_admission import BIGGER, runtime

ATLAS = {"model": {"atlas": 0.5}, "LoRA": {"ink": 0.0}, "control network": {"tile": 0.0}}


def show_node(app, name, installed=None, *, memory_gb=8.0, pool="gpu") -> None:
    """A live node; one of an older version where *installed* is left out."""
    record = {"node": name, "pid": 1, "pool": pool, "memory_gb": memory_gb}
    told = {} if installed is None else {"installed": installed}
    app.board.show("nodes", name, record | told, ttl_s=60)


def order(**fields):
    return read_request({"prompt": "a map", "model": "elsewhere"} | fields)


def refusal(app, request):
    with pytest.raises(AdmissionError) as refused:
        check_admission(app, request)
    assert refused.value.reason == "no_worker_can_serve"
    assert not refused.value.may_pass
    return str(refused.value)


def test_a_model_that_no_live_worker_has_is_refused_with_model_and_pool():
    app = runtime()
    show_node(app, "w1@a", ATLAS)
    show_node(app, "w2@a", {"model": {"sdxl": 8.0, "atlas": 0.5}})

    assert refusal(app, order()) == (
        "model elsewhere is on none of 2 live workers of pool gpu; known models there: atlas, sdxl"
    )


def test_one_worker_that_has_the_model_suffices():
    app = runtime()
    show_node(app, "w1@a", ATLAS)
    show_node(app, "w2@a", {"model": {"elsewhere": 4.0}})

    check_admission(app, order())


@pytest.mark.parametrize(
    "installed", [None, {}, {"LoRA": {"ink": 0.0}}], ids=["older", "unread", "too many to tell"]
)
def test_a_worker_that_does_not_tell_its_models_refuses_none(installed):
    app = runtime()
    show_node(app, "w1@a", ATLAS)
    show_node(app, "w2@a", installed)

    check_admission(app, order())


def test_a_pool_without_any_live_worker_refuses_no_model():
    app = runtime()
    show_node(app, "w1@a", ATLAS, pool="maps")

    check_admission(app, order())


def test_a_worker_without_any_model_is_told_so():
    app = runtime()
    show_node(app, "w1@a", {"model": {}})

    assert refusal(app, order()) == (
        "model elsewhere is on none of 1 live workers of pool gpu; known models there: none"
    )


def test_a_model_of_a_bigger_pool_is_taken_and_one_of_neither_names_both():
    app = runtime(**BIGGER | {"bigger_pool": {"gpu": "large"}})
    show_node(app, "w1@a", ATLAS)
    show_node(app, "l1@a", {"model": {"elsewhere": 24.0}}, memory_gb=80.0, pool="large")

    check_admission(app, order())
    assert refusal(app, order(model="sdxl")).startswith(
        "model sdxl is on none of 2 live workers of pools gpu, large; "
    )


def test_where_the_client_lacks_the_card_the_workers_tell_what_it_needs():
    app = runtime()
    show_node(app, "w1@a", {"model": {"elsewhere": 24.0}})
    show_node(app, "w2@a", ATLAS, memory_gb=80.0)

    assert refusal(app, order()) == (
        "model elsewhere needs 24 GB, the largest of 1 live workers that have it has 8 GB"
    )


def test_of_workers_with_other_versions_of_a_model_the_least_demanding_counts():
    app = runtime()
    show_node(app, "w1@a", {"model": {"elsewhere": 24.0}})
    show_node(app, "w2@a", {"model": {"elsewhere": 6.0}})

    check_admission(app, order())


def test_the_clients_own_card_counts_before_those_of_the_workers():
    app = runtime()
    show_node(app, "w1@a", {"model": {"large": 2.0}})

    assert refusal(app, order(model="large")) == (
        "model large needs 10 GB, the largest of 1 live workers has 8 GB"
    )


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"loras": [{"name": "wet", "weight": 1.0}]}, "LoRA wet"),
        ({"models": {"control": "edges"}}, "control network edges"),
    ],
    ids=["LoRA", "control"],
)
def test_a_part_that_is_on_no_worker_with_the_model_is_refused(fields, part):
    app = runtime()
    kind, _, name = part.rpartition(" ")
    show_node(app, "w1@a", ATLAS)
    show_node(app, "w2@a", {"model": {"sdxl": 1.0}, kind: {name: 0.0}})

    assert refusal(app, order(model="atlas", **fields)).startswith(
        f"{part} is on none of 1 live workers of pool gpu with model atlas; known {kind}s there: "
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"loras": [{"name": "ink", "weight": 1.0}]},
        {"models": {"control": "tile"}},
        {"models": {"control": "none"}},
    ],
    ids=["LoRA", "control", "no control"],
)
def test_a_part_that_a_worker_has_beside_the_model_is_taken(fields):
    app = runtime()
    show_node(app, "w1@a", ATLAS)

    check_admission(app, order(model="atlas", **fields))


def test_a_long_list_of_models_is_cut_in_the_refusal():
    app = runtime()
    show_node(app, "w1@a", {"model": {f"model-{number:03}": 1.0 for number in range(100)}})

    told = refusal(app, order())

    assert told.endswith(" …")
    assert len(told) < 300
