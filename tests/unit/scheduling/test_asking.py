"""What the dispatcher asks the control workers for again, and when it waits instead."""

from app.domain.work import Stage, Work, plan_key
from tests.unit.scheduling.scene import TILES, tiles


def sent(scene, after_s=0.0, times=1):
    return [work for one in scene.round(after_s, times=times) for work in one.units]


def asked_after(scene, asked, *, quiet_s, soon_s):
    """What is in *asked*, a list of the publisher, soon after it stayed empty for *quiet_s*."""
    scene.round(1.0, times=quiet_s)
    assert asked == []
    scene.round(1.0, times=soon_s)
    return asked


def render_all(scene):
    """A job whose tiles are all rendered, and whose merge nobody has begun."""
    plan = scene.accept()
    for work in sent(scene, times=3):
        scene.rendered("job", plan, work)
    for work in set(tiles(TILES)) - {work for one in scene.publisher.slices for work in one.units}:
        scene.rendered("job", plan, work)
    return plan


def test_a_plan_that_does_not_come_is_asked_for_again_and_not_all_the_time(scene):
    scene.submit("job")

    scene.round(1.0, times=14)
    assert scene.publisher.plans == []
    scene.round(1.0, times=4)
    assert scene.publisher.plans == ["job"]
    scene.round(1.0, times=14)
    assert scene.publisher.plans == ["job", "job"]


def test_a_plan_is_not_asked_for_while_its_message_may_wait_in_the_queue(scene):
    scene.submit("job")
    scene.publisher.ready["control"] = 100

    asked = asked_after(scene, scene.publisher.plans, quiet_s=110, soon_s=10)

    assert asked == ["job"]


def test_a_plan_that_came_unheard_is_not_asked_for(scene):
    for number in range(40):
        scene.submit(f"before-{number}")
    scene.submit("job")
    scene.round()
    scene.accept("job")

    scene.round(16.0)

    assert "job" not in scene.publisher.plans
    assert {one.job_id for one in scene.round(1.0)} == {"job"}


def test_jobs_that_wait_for_their_plans_are_looked_at_a_few_at_a_time(scene, monkeypatch):
    for number in range(40):
        scene.submit(f"job-{number:02d}")
    scene.round()
    ledger, looked = scene.runtime.ledger, []
    is_planned = ledger.has_plan
    monkeypatch.setattr(
        type(ledger), "has_plan", lambda self, job_id: looked.append(job_id) or is_planned(job_id)
    )

    scene.round(0.6)
    in_one_round = len(set(looked))
    scene.round(0.6, times=9)

    assert 0 < in_one_round <= 8
    assert len(set(looked)) == 40


def test_a_withdrawn_job_leaves_the_line(scene):
    scene.submit("job")
    scene.runtime.ledger.forget("job")

    scene.round(1.0, times=20)

    assert scene.runtime.entries.all() == []


def test_a_job_that_is_ordered_anew_just_then_stays_in_line(scene, monkeypatch):
    scene.submit("job")
    scene.runtime.ledger.forget("job")
    ledger = scene.runtime.ledger
    read = ledger.request

    def request(job_id):
        try:
            return read(job_id)
        finally:
            monkeypatch.setattr(ledger, "request", read)
            scene.submit(job_id)

    monkeypatch.setattr(ledger, "request", request)
    scene.round(1.0, times=40)

    assert [entry.job_id for entry in scene.runtime.entries.all()] == ["job"]
    assert set(scene.publisher.plans) == {"job"}


def test_a_merge_that_nobody_asked_for_is_asked_for(scene):
    render_all(scene)

    asked = asked_after(scene, scene.publisher.advances, quiet_s=29, soon_s=5)

    assert asked == [("job", [0])]


def test_a_plan_that_was_lost_is_written_again_before_a_merge_is_asked_for(scene):
    plan = render_all(scene)
    scene.round(1.0)
    scene.store.delete(plan_key(plan.hash))

    scene.round(1.0, times=35)

    assert scene.publisher.advances
    assert scene.runtime.ledger.plan("job") == plan


def test_a_merge_is_not_asked_for_while_its_message_may_wait_in_the_queue(scene):
    render_all(scene)
    scene.publisher.ready["control"] = 60

    asked = asked_after(scene, scene.publisher.advances, quiet_s=85, soon_s=10)

    assert asked == [("job", [0])]


def at_step(scene, image, label="a step", **facts):
    """Let a control worker show that it is at this image of the job, or at what concerns all."""
    step = {"job_id": "job", "label": label, "image": image, "elapsed_s": 1.0}
    scene.node("control@a", pool="control", step=step, **facts)


def beat_at_step(scene, image, seconds, label="a step"):
    for _ in range(seconds):
        at_step(scene, image, label)
        scene.round(1.0)


def test_what_a_living_worker_merges_is_not_asked_for_until_it_is_lost(scene):
    render_all(scene)

    beat_at_step(scene, 0, 60)
    assert scene.publisher.advances == []
    scene.round(1.0, times=40)

    assert scene.publisher.advances == [("job", [0])]


def test_a_merge_is_asked_for_while_a_worker_is_at_another_image(scene):
    render_all(scene)

    beat_at_step(scene, 1, 40)

    assert scene.publisher.advances == [("job", [0])]


def test_a_plan_that_a_living_worker_makes_is_not_asked_for_until_it_is_lost(scene):
    scene.submit("job")

    beat_at_step(scene, None, 60, "plan")
    assert scene.publisher.plans == []
    scene.round(1.0, times=30)

    assert scene.publisher.plans == ["job"]


def accept_rendered(scene):
    """A new order whose tiles another one of its series has rendered."""
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE)


def test_a_merge_that_no_callback_can_ask_for_is_asked_for_at_once(scene):
    accept_rendered(scene)

    scene.round()

    assert scene.publisher.advances == [("job", [0])]


def test_an_assembly_is_asked_for_where_what_came_before_it_has_no_callback(scene):
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.CORE)  # its head alone was removed
    (sent,) = scene.round(0.1)
    assert sent.units == (Work(Stage.HEAD, 0),)

    scene.rendered("job", plan, *sent.units)
    scene.round(0.1)

    assert scene.publisher.advances == [("job", [0])]


def test_a_merge_that_another_dispatcher_may_have_asked_for_is_waited_for(scene):
    accept_rendered(scene)
    scene.round(31.0)

    asked = asked_after(scene, scene.publisher.advances, quiet_s=28, soon_s=5)

    assert asked == [("job", [0])]


def test_a_job_whose_pictures_are_all_there_is_asked_for_its_result(scene):
    plan = scene.accept()
    for image in range(plan.spec.count):
        scene.finish(plan, image, *Stage)

    scene.round(1.0)

    assert scene.publisher.advances == [("job", None)]
    assert sent(scene, 1.0, times=5) == []


def test_who_made_the_plan_a_moment_ago_is_not_at_the_result(scene):
    plan = scene.accept()
    scene.finish(plan, 0, *Stage)
    at_step(scene, None, "plan")

    scene.round(1.0)

    assert scene.publisher.advances == [("job", None)]
