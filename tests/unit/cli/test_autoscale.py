from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from app.domain.scaling import ScalingRule
from tests.support.installation import Installation

KEDA = Path(__file__).parents[3] / "docker" / "keda.yaml"


def test_bounds_that_contradict_each_other_are_refused(installation: Installation) -> None:
    result = installation.invoke("autoscale", "--min", "3", "--max", "2")

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: --min must be at most --max, got 3 and 2\n",
    )


def test_a_pool_that_is_not_set_up_is_refused(installation: Installation) -> None:
    result = installation.invoke("autoscale", "--max", "2", "--pool", "maps")

    assert result.exit_code == 2
    assert result.stderr == (
        "tilechord: --pool must be one of TILECHORD_POOLS (control, gpu), got 'maps'\n"
    )


def test_without_a_broker_there_is_nothing_to_scale(installation: Installation) -> None:
    result = installation.invoke("autoscale", "--max", "2")

    assert (result.exit_code, result.stderr) == (
        3,
        "tilechord: autoscaling needs a broker: set TILECHORD_BROKER_URL or pass --env-file\n",
    )


@pytest.mark.parametrize(
    ("pending_s", "workers"), [(0.0, 0), (1.0, 1), (31.0, 2), (1e6, 8)], ids=str
)
def test_the_manifest_of_keda_asks_for_as_many_workers_as_the_command(
    pending_s: float, workers: int
) -> None:
    spec = yaml.safe_load(KEDA.read_text())["spec"]
    trigger = spec["triggers"][0]["metadata"]
    rule = ScalingRule(
        spec["minReplicaCount"],
        spec["maxReplicaCount"],
        float(trigger["threshold"]),
        spec["cooldownPeriod"],
    )

    assert trigger["query"] == 'max(tilechord_pending_seconds{pool="gpu"})'
    assert (rule.target_s, rule.cooldown_s) == (30.0, 60.0)  # the command's defaults
    assert rule.wanted(pending_s) == workers


def test_the_defaults_are_those_of_the_manifest(installation: Installation) -> None:
    spec = yaml.safe_load(KEDA.read_text())["spec"]
    help_text = installation.invoke("autoscale", "--help").stdout

    assert f"[default: {float(spec['triggers'][0]['metadata']['threshold'])}]" in help_text
    assert f"[default: {float(spec['cooldownPeriod'])}]" in help_text
