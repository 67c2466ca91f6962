import pytest

from app import workflow
from app.domain.work import (
    Stage,
    work_of,
)
from app.schemas import read_request
from tests.unit.workflow.scene import REQUEST, finish_units


@pytest.fixture
def listed(runtime, monkeypatch):
    """Prefixes that are listed."""
    found, keys = [], runtime.store.keys
    monkeypatch.setattr(runtime.store, "keys", lambda prefix: found.append(prefix) or keys(prefix))
    return found


LARGE = read_request({"prompt": "a map", "height": 640, "width": 640, "mode": "refine"})


MANY_PHASES = read_request(
    {"prompt": "a map", "height": 128, "width": 160, "mode": "multidiffusion", "steps": 20}
)


def test_the_end_of_a_slice_that_was_not_the_last_lists_no_blobs(runtime, listed):
    workflow.start(runtime, "job", LARGE)
    plan = runtime.ledger.plan("job")
    base, prepare, tiles, *_ = work_of(plan)
    finish_units(runtime, plan, [*base, *prepare, *tiles[:-1]])
    listed.clear()

    assert workflow.advance(runtime, "job", [0]) is None
    assert listed == []

    done = []
    finish_units(runtime, plan, tiles[-1:])
    workflow.advance(runtime, "job", [0], note=done.append)
    assert [work.stage for work in done] == [Stage.MERGE]


@pytest.mark.parametrize(
    "order",
    [REQUEST, MANY_PHASES],
    ids=["few tiles", "many phases"],
)
def test_where_a_listing_is_short_nothing_is_asked_for_before_it(
    runtime, listed, monkeypatch, order
):
    workflow.start(runtime, "job", order)
    asked, exists = [], runtime.store.exists
    monkeypatch.setattr(runtime.store, "exists", lambda key: asked.append(key) or exists(key))
    listed.clear()

    assert workflow.advance(runtime, "job", [0]) is None
    assert listed
    assert not [key for key in asked if "image-" in key]
