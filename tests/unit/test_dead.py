"""What a dead message tells about itself."""

import json
from datetime import UTC, datetime

import pytest
from kombu import Message

from app.attempts import DeadUnit
from app.dead import _letter
from app.schemas import WorkMessage

UNIT = WorkMessage(job_id="job-1", plan_hash="p", stage="tile", image=0, index=3)
DIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEATH = {"reason": "rejected", "queue": "render.gpu.v1", "time": DIED}


def dead(kwargs, task="workers.tasks.tile", death=None, **headers):
    body = json.dumps([[], kwargs, {}])
    headers = {"id": "t-1", "task": task, "x-death": [death or DEATH], **headers}
    return Message(body, content_type="application/json", headers=headers)


def test_a_unit_tells_its_job_its_queue_and_when_it_died():
    letter = _letter(dead({"message": UNIT.model_dump(mode="json")}), {})

    assert (letter.id, letter.job_id, letter.label) == ("t-1", "job-1", "tile 3 of image 0")
    assert (letter.queue, letter.at_s) == ("render.gpu.v1", DIED.timestamp())
    assert letter.reason == "a worker refused it"


def test_a_quarantined_unit_tells_why():
    unit = DeadUnit("job-1", "p", "tile-3", "tile 3 of image 0", "3 workers died of it", 1.0)

    letter = _letter(
        dead({"message": UNIT.model_dump(mode="json")}), {("job-1", "tile 3 of image 0"): unit}
    )

    assert letter.reason == "3 workers died of it"
    assert letter.unit is unit


@pytest.mark.parametrize(
    ("task", "reason", "told"),
    [
        ("workers.tasks.tile", "rejected", "a worker refused it"),
        ("workers.tasks.of_tomorrow", "rejected", "no worker knows task workers.tasks.of_tomorrow"),
        (
            "workers.tasks.tile",
            "delivery_limit",
            "it was delivered more often than TILECHORD_DELIVERY_LIMIT and never acknowledged",
        ),
        ("workers.tasks.tile", "expired", "the broker gave it up: expired"),
        (None, "rejected", "no worker can read it"),
    ],
    ids=["refused", "unknown task", "delivery limit", "expired", "unreadable"],
)
def test_the_reason_is_told_in_words(task, reason, told):
    assert _letter(dead({}, task, DEATH | {"reason": reason}), {}).reason == told


def test_the_task_that_takes_an_order_has_its_jobs_id():
    letter = _letter(dead({}, "app.tasks.render"), {})

    assert (letter.job_id, letter.label) == ("t-1", None)


def test_a_control_task_tells_its_job():
    assert _letter(dead({"job_id": "job-1"}, "app.tasks.merge"), {}).job_id == "job-1"


@pytest.mark.parametrize(
    "body",
    [b"\x80\x04.", b"", b"{}", b"[1, 2, 3]", b'[[], {"message": 7}, {}]', b"\xff\xfe"],
    ids=["pickle", "empty", "mapping", "numbers", "no message", "no text"],
)
def test_whatever_a_body_is_a_letter_is_made_of_it(body):
    letter = _letter(Message(body, headers={"x-death": [DEATH]}), {})

    assert (letter.job_id, letter.label) == (None, None)
    assert len(letter.id) == 12


def test_a_message_without_a_death_can_be_read_too():
    letter = _letter(Message(b"x"), {})

    assert (letter.queue, letter.at_s) == (None, None)


def test_equal_unreadable_messages_have_equal_ids_and_others_have_not():
    ids = [_letter(Message(body), {}).id for body in (b"a", b"a", b"b")]

    assert ids[0] == ids[1] != ids[2]
