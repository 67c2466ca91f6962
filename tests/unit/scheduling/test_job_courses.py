"""Whatever happens to an open job, and in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.work import WORKER_STAGES, Work, image_work
from app.scheduling.job import OpenJob
from app.storage.memory import MemoryStore
from tests.unit.scheduling.jobs import BATCH, ENTRY, PLAN, groups_of, take, write


@st.composite
def courses(draw):
    """What may happen to a job, in any order."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["take", "render", "vanish", "hear", "load", "refresh", "back"]),
                st.integers(0, 50),
            ),
            max_size=60,
        )
    )


class Course:
    """Workers, events and control steps around one job; asserts what must always hold."""

    def __init__(self, plan, group):
        self.plan, self.store = plan, MemoryStore()
        self.job = OpenJob(ENTRY, plan, group)
        self.job.load(self.store, 0.0)
        self.sent: set[Work] = set()
        self.unheard: list[Work] = []

    def go(self, deed, number):
        flying = sorted(self.job.flying)
        match deed:
            case "take":
                before = set(self.job.flying)
                for work in take(self.job, 1 + number % 7):
                    assert work not in before, "taken twice"
                    self.sent.add(work)
            case "render" if flying:
                work = flying[number % len(flying)]
                write(self.store, self.plan, [work])
                self.unheard.append(work)
            case "hear" if self.unheard:
                self.job.done(self.unheard.pop(number % len(self.unheard)), 1.0)
            case "vanish" if self.unheard:
                self.unheard.pop()
            case "load":
                self.job.load(self.store, 1.0)
            case "refresh":
                self.job.refresh(self.store, [number % self.plan.spec.count], 1.0)
            case "back":
                self.job.give_back(flying[: number % 4])
        heard = set(self.job.ready())
        assert not heard & set(self.job.flying)
        assert len(list(self.job.ready())) == len(heard)
        if deed == "load":
            assert not any(self.store.exists(work.key(self.plan)) for work in heard)

    def merge(self):
        """What the control worker would do."""
        for image in list(self.job.control_since):
            work = next(
                group[0]
                for group in image_work(self.plan, image)
                if not self.store.exists(group[0].key(self.plan))
            )
            write(self.store, self.plan, [work])
            self.job.refresh(self.store, [image], 1.0)


@given(courses(), st.sampled_from([1, 2, 5]))
def test_in_any_course_every_unit_is_sent_and_none_that_is_done_is_ready(course, group):
    here = Course(BATCH, group)
    for deed, number in course:
        here.go(deed, number)

    for _ in range(200):  # and then all goes well
        if here.job.is_complete:
            break
        here.go("load", 0)
        here.go("take", 6)
        for work in sorted(here.job.flying):
            write(here.store, BATCH, [work])
            here.job.done(work, 1.0)
        here.merge()

    assert here.job.is_complete
    ours = {work for image in range(5) for work in groups_of(BATCH, image, *WORKER_STAGES)}
    assert here.sent == ours


@given(courses())
def test_events_and_a_listing_tell_the_same(course):
    here = Course(PLAN, 1)
    for deed, number in course:
        here.go(deed, number)
    while here.unheard:
        here.go("hear", 0)
    anew = OpenJob(ENTRY, PLAN, 1)

    anew.load(here.store, 2.0)
    here.job.load(here.store, 2.0)

    assert set(anew.ready()) == set(here.job.ready()) | set(here.job.flying)
    assert anew.ready_stages() == here.job.ready_stages() or here.job.flying
