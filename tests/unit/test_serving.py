import pytest

from app.cli import serving
from app.domain.errors import ConfigurationError
from app.settings import Settings


def test_a_unit_that_could_outlive_its_delivery_is_refused_before_any_work():
    chosen = Settings(unit_timeout_s=900, consumer_timeout_s=1800)

    with pytest.raises(ConfigurationError) as caught:
        serving._check_timeouts(chosen)

    assert str(caught.value) == (
        "TILECHORD_UNIT_TIMEOUT_S must be below half of TILECHORD_CONSUMER_TIMEOUT_S, "
        "which is 900 s, got 900 s"
    )


@pytest.mark.parametrize(
    "values",
    [{}, {"unit_timeout_s": 899.0}, {"unit_timeout_s": 7200.0, "consumer_timeout_s": 0.0}],
    ids=["defaults", "below half", "no timeout"],
)
def test_timeouts_that_fit_are_taken(values):
    serving._check_timeouts(Settings(**values))


def test_a_worker_checks_its_timeouts_before_it_starts(monkeypatch):
    chosen = Settings(unit_timeout_s=1800)
    monkeypatch.setattr(serving, "settings", lambda: chosen)

    with pytest.raises(ConfigurationError, match=r"^TILECHORD_UNIT_TIMEOUT_S must be below half"):
        list(serving.check(["gpu"]))
