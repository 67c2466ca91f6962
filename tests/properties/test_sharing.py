"""Orders of one series share what their pictures are made from: the bytes are the same."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canvas import write_band
from app.domain.spec import Mode
from app.domain.work import Stage, Work, next_of_image, next_work, series_prefix
from app.jobs import present_keys
from app.storage.memory import MemoryStore
from tests.properties.test_engine import CARD, MODES, PICTURE, toy_plan
from tests.support.engine import ToyModel, run_unit, toy_context
from tests.support.families import whole_plan
from workers.stages.prepare import _put_prompts
from workers.stages.walk import encode_prompts

FORMATS = st.sampled_from(["png", "jpeg", "webp", "jxl", "tiff"])
TAGS = st.dictionaries(st.sampled_from("abc"), st.text(max_size=3), max_size=2)


def made_from(store, plan, image=None) -> dict[str, bytes]:
    """The blobs of the series, or of one of its images."""
    folder = "" if image is None else f"image-{image:04d}/"
    return {key: store.get(key) for key in store.keys(f"{series_prefix(plan)}{folder}")}


def walked(plan, image) -> dict[str, bytes]:
    """What the toy model makes one image's canvas from, in a store of its own."""
    context = toy_context(ToyModel(CARD), MemoryStore())
    work = Work(Stage.PREPARE, image)
    _put_prompts(context, plan, work, encode_prompts(ToyModel(CARD), plan, lambda: None))
    if plan.starts_from_picture:
        write_band(context.store, plan, image, 0, 0, PICTURE)
    context.store.put(work.key(plan), b"{}")
    keys = present_keys(context.store, plan, image)
    while (missing := next_of_image(plan, image, keys))[0].stage in (Stage.TILE, Stage.MERGE):
        for unit in missing:
            run_unit(context, plan, unit)
        keys = present_keys(context.store, plan, image)
    return made_from(context.store, plan, image)


@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 2**63 - 1),
    image=st.integers(0, 2),
    more=st.integers(0, 2),
    suffix=FORMATS,
    tags=TAGS,
)
@settings(max_examples=12, deadline=None)
def test_count_format_and_tags_change_no_byte_of_what_an_image_is_made_from(
    mode, seed, image, more, suffix, tags
):
    changes = {"discard": False, "seed": seed, "steps": 3}
    one = toy_plan(mode, count=image + 1, **changes)
    other = toy_plan(mode, count=image + 1 + more, format=suffix, tags=tags, **changes)

    blobs = walked(one, image)

    assert one.series == other.series
    assert any("tile-" in key for key in blobs)
    assert walked(other, image) == blobs


def finished(model, render, store):
    """How often each stage was performed until every picture of *render* was there."""
    done = []
    while missing := next_work(render, present_keys(store, render)):
        for work in missing:
            run_unit(toy_context(model, store), render, work)
            done.append(work)
    return done


@pytest.fixture(scope="module")
def first(family_model):
    store = MemoryStore()
    render = whole_plan(family_model.card, Mode.REFINE)
    finished(family_model, render, store)
    return render, store


def test_every_stage_of_a_real_model_gives_the_same_bytes(family_model, first):
    render, store = first
    spec = replace(render.spec, count=2, format="jpeg", tags={"for": "print"})
    other, own = replace(render, spec=spec), MemoryStore()

    finished(family_model, other, own)

    stages = {key.split("/")[3].partition("-")[0] for key in made_from(store, render)}
    assert {"base", "prepared", "phase", "bands", "head", "core", "colours"} <= stages
    assert made_from(own, other, 0) == made_from(store, render, 0)


def test_the_same_picture_in_another_format_is_only_written_again(family_model, first):
    render, store = first
    other = replace(render, spec=replace(render.spec, format="jpeg", tags={"for": "the web"}))

    done = finished(family_model, other, store)

    assert done == [Work(Stage.PICTURE, 0)]
    assert store.exists(Work(Stage.PICTURE, 0).key(render))
    assert store.exists(Work(Stage.PICTURE, 0).key(other))


def test_a_larger_batch_renders_only_the_pictures_that_are_new(family_model, first):
    render, store = first
    other = replace(render, spec=replace(render.spec, count=2))

    done = finished(family_model, other, store)

    assert [work for work in done if work.image == 0] == [Work(Stage.PICTURE, 0)]
    assert {work.stage for work in done if work.image == 1} >= {Stage.BASE, Stage.TILE, Stage.CORE}
