from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.errors import ConfigurationError
from app.settings import Settings, settings
from tests.support.installation import Installation


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("/a", [Path("/a")]),
        ("/a:/b c", [Path("/a"), Path("/b c")]),
    ],
    ids=["one", "two"],
)
def test_model_folders_are_separated_as_in_path(
    text: str, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_MODELS_PATH", text)

    assert Settings().models_path == folders


def test_no_model_folders_are_set_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILECHORD_MODELS_PATH", raising=False)

    assert Settings().models_path == []


PLACE = (
    "must have a host and a port of 0 to 65535 after its scheme, "
    "and '/', '#', '?', '[' and ']' in a password percent-encoded"
)
BROKER_SCHEMES = "must start with memory://, amqp:// or amqps://"
BAD_ADDRESSES = {
    "unknown": ("BROKER_URL", "odd://u:hush@h", f"{BROKER_SCHEMES}, got scheme 'odd'"),
    "misspelt": ("BROKER_URL", "ampq://u:hush@h", f"{BROKER_SCHEMES}, got scheme 'ampq'"),
    "redis": ("BROKER_URL", "redis://:hush@h", f"{BROKER_SCHEMES}, got scheme 'redis'"),
    "bare": ("BROKER_URL", "u:hush@h", f"{BROKER_SCHEMES}, got no scheme"),
    "empty": ("BROKER_URL", "", f"{BROKER_SCHEMES}, got no scheme"),
    "port": ("BROKER_URL", "amqp://u:hush@h:port/", PLACE),
    "far port": ("BROKER_URL", "amqp://u:hush@h:65536/", PLACE),
    "slash in password": ("BROKER_URL", "amqp://u:hush/x@h/", PLACE),
    "bracket in password": ("BROKER_URL", "amqp://u:hush[x@h/", PLACE),
    "no host": ("BROKER_URL", "amqp://u:hush@/", "must have a host after amqp://"),
    "second": ("BROKER_URL", "amqp://h;odd://u:hush@h", f"{BROKER_SCHEMES}, got scheme 'odd'"),
    "results port": ("RESULT_BACKEND", "redis://:hush@h:port/0", PLACE),
    "results host": ("RESULT_BACKEND", "rediss://:hush@/0", "must have a host after rediss://"),
    "bare results": (
        "RESULT_BACKEND",
        "hush@h",
        "must start with redis:// or rediss://, got no scheme",
    ),
}


@pytest.mark.parametrize(("name", "url", "rule"), BAD_ADDRESSES.values(), ids=BAD_ADDRESSES.keys())
def test_a_malformed_address_is_told_without_its_password(
    name: str, url: str, rule: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TILECHORD_{name}", url)

    with pytest.raises(ConfigurationError) as refusal:
        settings()
    told = installation.invoke("doctor")

    assert str(refusal.value) == f"TILECHORD_{name} {rule}"
    assert "hush" not in str(refusal.value.__cause__)
    assert told.exit_code == 3
    assert told.stdout.startswith(f"failed  settings: TILECHORD_{name} {rule}")


@pytest.mark.parametrize(
    "url",
    ["memory://", "amqp://h", "amqps://u:p%2Fw@[::1]:5671//", "amqp://a:1;amqp://b:2"],
    ids=["memory", "host", "everything", "several"],
)
def test_a_broker_of_rabbitmq_is_accepted(url: str) -> None:
    assert Settings(broker_url=url).broker_url.get_secret_value() == url  # type: ignore[arg-type]


TYPES = "must be bound to types plan, base, tile, upscale, finish or *"
SHAPE = "must have bindings TYPE.MODEL, with * for any model"
KNOWN = "must name pools of TILECHORD_POOLS (control, gpu)"
BAD_POOLS = {
    "type": ("POOLS", '{"gpu": ["tiles.*"]}', f"{TYPES}, got 'tiles.*'"),
    "old type": ("POOLS", '{"gpu": ["control.*"]}', f"{TYPES}, got 'control.*'"),
    "no model": ("POOLS", '{"gpu": ["tile"]}', f"{SHAPE}, got 'tile'"),
    "empty model": ("POOLS", '{"gpu": ["tile."]}', f"{SHAPE}, got 'tile.'"),
    "empty": ("POOLS", '{"gpu": ["#"], "x": [""]}', f"{TYPES}, got ''"),
    "bigger": ("BIGGER_POOL", '{"gpu": "large"}', f"{KNOWN}, got 'large'"),
    "smaller": ("BIGGER_POOL", '{"small": "gpu"}', f"{KNOWN}, got 'small'"),
    "placed": ("POOL_PLACING", '{"cpu": "random"}', f"{KNOWN}, got 'cpu'"),
}


@pytest.mark.parametrize(("name", "value", "rule"), BAD_POOLS.values(), ids=BAD_POOLS.keys())
def test_a_pool_that_would_never_get_its_work_is_refused_at_start(
    name: str, value: str, rule: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TILECHORD_{name}", value)

    with pytest.raises(ConfigurationError) as refusal:
        settings()

    assert str(refusal.value) == f"TILECHORD_{name} {rule}"


def test_bindings_that_are_refused_are_told_before_what_names_their_pools(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_BIGGER_POOL", '{"gpu": "large"}')
    monkeypatch.setenv("TILECHORD_POOLS", '{"gpu": ["tiles.*"]}')

    with pytest.raises(ConfigurationError, match=r"^TILECHORD_POOLS must be bound"):
        settings()
