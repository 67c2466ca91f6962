from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app import doctor
from app.bootstrap import build_runtime
from app.domain.errors import ConfigurationError, StorageUnavailableError
from app.live.memory import MemoryBoard
from app.nodes import NODES
from app.settings import Settings
from tests.support.installation import Installation


def cluster_settings(results: str) -> Settings:
    return Settings(broker_url="amqp://127.0.0.1:1", result_backend=results)  # type: ignore[arg-type]


def test_a_good_installation_passes_every_check(installation: Installation) -> None:
    result = installation.invoke("doctor")

    assert result.exit_code == 0, result.stdout
    assert [line.split()[1] for line in result.stdout.splitlines()] == [
        "packages:",
        "broker:",
        "results:",
        "workers:",
        "store:",
        "model:",
        "disk:",
    ]
    assert installation.blobs() == []


def test_one_failure_hides_no_other(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_MODEL", "mona")
    monkeypatch.setenv("TILECHORD_BROKER_URL", "amqp://127.0.0.1:1")
    monkeypatch.setenv("TILECHORD_RESULT_BACKEND", "rpc://")

    result = installation.invoke("doctor", "--json")

    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    failed = {name for name, finding in findings.items() if not finding["ok"]}
    assert result.exit_code == 4
    assert failed == {"broker", "results", "model"}
    assert all(findings[name]["advice"] for name in failed)


def test_a_wrong_setting_is_the_only_finding(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_MAX_COUNT", "many")

    result = installation.invoke("doctor")

    assert result.exit_code == 3
    assert result.stdout.startswith("failed  settings: TILECHORD_MAX_COUNT: ")


def test_a_client_without_torch_needs_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "torch" else name)

    with pytest.raises(ConfigurationError, match="rendering in this process needs torch"):
        doctor.check_packages(Settings(broker_url="memory://"))  # type: ignore[arg-type]
    assert "a client only, without torch" in doctor.check_packages(cluster_settings("redis://x"))


def test_a_nearly_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(StorageUnavailableError, match="must have 1024 MiB free, got 5 MiB"):
        doctor.check_disk(Settings(store_url=f"file://{tmp_path}/not/there/yet"))


@pytest.mark.parametrize(
    ("pools", "told"),
    [
        (
            [],
            "alive are none of pool control, none of pool gpu; nothing is planned or given out "
            "before one is started with: tilechord worker --queues control",
        ),
        (["control"], "alive are 1 of pool control, none of pool gpu"),
        (["control,gpu", "gpu"], "alive are 1 of pool control, 2 of pool gpu"),
    ],
    ids=["none", "no renderer", "both"],
)
def test_living_workers_are_counted_by_pool(pools: list[str], told: str) -> None:
    chosen, board = cluster_settings("redis://x"), MemoryBoard()
    for number, pool in enumerate(pools):
        board.show(NODES, f"w{number}", {"node": f"w{number}", "pid": 1, "pool": pool}, ttl_s=60)
    app = replace(build_runtime(Settings(broker_url="memory://")), board=board, settings=chosen)  # type: ignore[arg-type]

    assert doctor._describe_workers(app, chosen) == told


def test_without_a_broker_none_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_broker", None)

    told = doctor._describe_broker(Settings(broker_url="memory://"))  # type: ignore[arg-type]

    assert told == "none, every render runs in the process that asks for it"
