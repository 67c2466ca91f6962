import pytest

from tests.faults.checker import check, told

KEY = "plans/a/image-0000/phase-0/tile-00001"
OTHER = "plans/a/image-0000/phase-0/tile-00002"
IMAGE = "plans/a/image-0000/"
CANVAS = "plans/a/image-0000/canvas-1.json"
ACCUSED = f"rendered again: {KEY} by w2, which looked 1.000 s after w1 had stored it"


def event(kind, at_s, node="w1", **fields):
    return {"t": at_s, "at_s": at_s, "event": kind, "node": node, "pid": 1, **fields}


def look(at_s, node="w1", keys=(KEY,), took_s=0.5):
    return event("look", at_s, node, keys=list(keys), began_s=at_s - took_s)


def start(at_s, node="w1", key=KEY):
    return event("start", at_s, node, plan="a", unit=key.removeprefix("plans/a/"), key=key)


def stored(at_s, node="w1", key=KEY, took_s=0.5):
    return event("stored", at_s, node, key=key, began_s=at_s - took_s)


def removal(at_s, node="w1", key=KEY, took_s=0.5):
    began_s = at_s - took_s
    return [
        event("removing", began_s, node, key=key, began_s=began_s),
        event("removed", at_s, node, key=key, began_s=began_s),
    ]


def hurt(name, at_s, key=KEY, took_s=0.5):
    fields = {"name": name, "key": key, "began_s": at_s - took_s}
    return {"t": at_s, "at_s": at_s, "event": "fault", **fields}


FIRST = [look(1), start(2), stored(3)]
AGAIN = [look(4.5, "w2"), start(5, "w2")]


def test_a_unit_that_is_begun_after_its_blob_was_confirmed_is_told():
    verdict = check([*FIRST, *AGAIN])

    assert verdict.accusations == [ACCUSED]
    assert "repeated   1" in told(verdict)


def test_a_unit_that_is_begun_once_is_well():
    assert check(FIRST).accusations == []


def test_a_copy_whose_worker_looked_before_the_blob_was_confirmed_was_in_flight():
    copy = [look(3.4, "w2"), start(60, "w2")]  # the look began at 2.9, the blob was there at 3

    assert check([*FIRST, *copy]).accusations == []


def test_a_worker_that_never_looks_is_judged_by_when_it_began():
    assert check([*FIRST, start(2.5, "w2")]).accusations == []
    assert check([*FIRST, start(4, "w2")]).accusations == [ACCUSED]


def test_the_look_of_another_process_excuses_nobody():
    successor = start(4, "w2") | {"pid": 2}

    assert check([*FIRST, look(2, "w2"), successor]).accusations == [ACCUSED]


def test_a_look_that_is_done_anew_replaces_the_first():
    assert check([*FIRST, look(2, "w2"), *AGAIN]).accusations == [ACCUSED]


def test_a_blob_whose_confirmation_was_lost_proves_nothing():
    assert check([look(1), start(2), *AGAIN]).accusations == []


def test_a_write_that_found_the_blob_there_confirms_it_too():
    taken = [look(1, "w3"), start(2, "w3"), stored(3.2, "w3")]

    assert check([look(1), start(2), *taken, *AGAIN]).accusations == [
        ACCUSED.replace("1.000", "0.800").replace("w1", "w3")
    ]


@pytest.mark.parametrize(
    "events",
    [
        [hurt("blob-deleted", 3.8)],
        [hurt("blob-deleted", 4.4)],
        [hurt("blob-deleted", 2.9)],
        [hurt("blob-rotten", 3.5), *removal(4)],
        [hurt("blob-rotten", 3.5, key=IMAGE + "band-00000"), *removal(4)],
        [hurt("blob-rotten", 3.5), *removal(3.9)[:1]],
    ],
    ids=[
        "deleted before the look",
        "deleted during the look",
        "deleted while it was confirmed",
        "rotten and removed",
        "a part of it rotten",
        "who removes it dies",
    ],
)
def test_a_unit_whose_blob_was_taken_away_is_rendered_again(events):
    assert check([*FIRST, *events, *AGAIN]).repeated == []


@pytest.mark.parametrize(
    "events",
    [
        [hurt("blob-deleted", 1.5)],
        [hurt("blob-deleted", 5.5)],
        [hurt("blob-deleted", 3.8, key=OTHER)],
        [hurt("blob-rotten", 3.5)],
        removal(4),
        [hurt("blob-rotten", 3.5, key="plans/a/image-0001/band-00000"), *removal(4)],
        [*removal(4), hurt("blob-rotten", 4.8)],
    ],
    ids=[
        "deleted before it was stored",
        "deleted after the look",
        "another one deleted",
        "rotten, and taken for whole",
        "removed for no reason",
        "removed for another image's damage",
        "removed before the damage",
    ],
)
def test_what_took_nothing_away_excuses_nobody(events):
    assert check([*FIRST, *events, *AGAIN]).repeated == [ACCUSED.removeprefix("rendered again: ")]


def test_a_unit_that_was_stored_again_may_not_be_rendered_a_third_time():
    second = [look(4.5, "w3"), start(5, "w3"), stored(6, "w3")]
    third = [look(7.5, "w2"), start(8, "w2")]

    verdict = check([*FIRST, hurt("blob-deleted", 3.8), *second, *third])

    assert verdict.accusations == [ACCUSED.replace("w1", "w3")]


def test_a_wrong_clock_accuses_nobody_and_excuses_nobody():
    events = [*FIRST, *AGAIN]
    skewed = [each | {"t": each["t"] + 3600} if each["node"] == "w1" else each for each in events]

    assert check(skewed).accusations == [ACCUSED]


def test_a_merge_after_its_canvas_was_confirmed_is_told():
    def seen(at_s, thread):
        return event("look", at_s, "control", image=IMAGE, thread=thread, began_s=at_s - 0.5)

    def join(at_s, thread):
        return event("join", at_s, "control", key=CANVAS, thread=thread)

    first = [seen(1, 7), join(2, 7), stored(4, "control", CANVAS)]

    assert check([*first, seen(2.5, 8), join(5, 8)]).accusations == []
    assert check([*first, seen(5.5, 8), join(6, 8)]).accusations == [
        f"rendered again: {CANVAS} by control, which looked 1.000 s after control had stored it"
    ]
