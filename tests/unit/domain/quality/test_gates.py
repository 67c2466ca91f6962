import pytest

from app.domain.quality import GATES, misses, worst

SOUND = {
    "overlap_disagreement": 0.02,
    "seam_z": 1.5,
    "variance_dip": 0.93,
    "low_frequency_drift": 3 / 255,
    "repetition": 0.9,
}


def test_a_figure_at_its_limit_passes():
    assert misses(SOUND) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("overlap_disagreement", 0.021),
        ("seam_z", 1.51),
        ("variance_dip", 0.92),
        ("low_frequency_drift", 0.0119),
    ],
    ids=list(GATES),
)
def test_a_figure_beyond_its_limit_is_named(name, value):
    assert misses(SOUND | {name: value}) == [name]


def test_what_is_not_defined_misses_no_gate():
    assert misses({}) == []


def test_the_worst_is_the_largest_but_of_the_dip_the_smallest():
    figures = [
        {"seam_z": 1.1, "variance_dip": 0.99, "repetition": 0.1},
        {"seam_z": 1.3, "variance_dip": 0.95, "repetition": 0.3},
        {"seam_z": 1.2},
    ]

    assert worst(figures) == {"seam_z": 1.3, "variance_dip": 0.95, "repetition": 0.3}


def test_nothing_measured_has_no_worst():
    assert worst([]) == {}
