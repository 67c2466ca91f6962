"""A whole job, from its base to its picture: every blob is the same however it is spread."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from app.domain.spec import Mode
from app.domain.work import plan_key
from tests.support.blobs import ComparingStore, CrashingStore, assert_same_blobs, kind
from tests.support.engine import render_picture, toy_context
from tests.support.families import in_double_precision, whole_plan
from tests.support.fleet import Fleet
from workers.loading import load_model

FP64 = 1e-10
"""How far batches may move latents in double precision; no pixel moves with them."""
MODES = (Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION)
JOBS = [
    *product(("sd", "sdxl", "sd3"), MODES),
    ("sd-v", Mode.PHASED),
    ("sd", Mode.SPOT),
    ("sd3", Mode.SPOT),
]
EVERY_STAGE = {
    *("plan.json", "base", "prompt-000", "colours", "bands-0", "prepared"),
    *("phase-0", "bands-1", "canvas-1.json", "phase-1", "bands-2", "canvas-2.json"),
    *("bands-3", "statistics", "head", "core-00000", "core-00001", "core-00002", "core-00003"),
    *("thumbnail.jpg", "picture.png.json", "quality.json", "picture.png"),
}


@pytest.fixture(scope="module", params=JOBS, ids=" ".join)
def job(request, families):
    """A model, a plan, and what one process makes of it, one unit after the other."""
    family, mode = request.param
    exact = in_double_precision(load_model(families, family, torch.device("cpu")))
    plan, context = whole_plan(exact.card, mode), toy_context(exact, ComparingStore())
    context.store.put(plan_key(plan.hash), plan.to_json())
    render_picture(context, plan)
    return exact, plan, context.store


def test_the_job_has_every_stage(families):
    plan = whole_plan(families.card("sd"), Mode.REFINE)
    fleet = Fleet(load_model(families, "sd", torch.device("cpu")))

    store = fleet.finish(plan)

    assert {kind(key) for key in store.keys("")} == EVERY_STAGE
    assert len(plan.phases[0].tiles) == 4


@pytest.mark.parametrize(("workers", "size"), [(2, 2), (5, 3)])
def test_every_blob_is_that_of_one_process(job, workers, size):
    model, plan, reference = job
    fleet = Fleet(model, workers=workers, size=size, seed=workers)

    store = fleet.finish(plan)

    assert_same_blobs(store, reference, FP64)
    assert fleet.store.repeats > len(list(reference.keys(""))) // 2


def test_a_crash_at_each_write_changes_no_blob(job):
    model, plan, reference = job
    fleet = Fleet(model, store=CrashingStore())

    store = fleet.finish(plan)

    assert_same_blobs(store, reference)
    kinds = {kind(key) for key in reference.keys("")}
    assert fleet.store.unwritten == fleet.store.unacknowledged == kinds
    assert fleet.crashes == 2 * len(kinds)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_in_equal_batches_every_byte_is_the_same_on_any_number_of_workers(families, size):
    model = load_model(families, "sd", torch.device("cpu"))
    plan = whole_plan(model.card, Mode.REFINE)
    fleets = [Fleet(model, workers=workers, size=size, seed=workers) for workers in (1, 2, 5)]

    one, two, five = (fleet.finish(plan) for fleet in fleets)

    assert_same_blobs(two, one)
    assert_same_blobs(five, one)


def test_a_crash_at_each_write_of_a_picture_with_a_pyramid_changes_no_blob(families):
    model = load_model(families, "sd", torch.device("cpu"))
    plan = whole_plan(model.card, Mode.REFINE)
    plan = replace(plan, spec=replace(plan.spec, pyramid=True))
    reference, fleet = Fleet(model).finish(plan), Fleet(model, store=CrashingStore())

    store = fleet.finish(plan)

    assert_same_blobs(store, reference)
    kinds = {kind(key) for key in reference.keys("")}
    assert kinds == EVERY_STAGE | {"picture.dzi", "picture_files"}
    assert fleet.store.unwritten == fleet.store.unacknowledged == kinds
