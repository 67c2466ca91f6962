"""Everything an operator can set, read from ``TILECHORD_*`` variables once per process."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from functools import lru_cache
from json import JSONDecodeError
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from app.bindings import read_binding
from app.domain.errors import ConfigurationError
from app.domain.scheduling.placement import STEAL_AFTER_S, Strategy


class QueueProfile(StrEnum):
    """Which RabbitMQ the queues are declared for; their arguments differ and are immutable."""

    RMQ3 = "rmq3"
    """RabbitMQ 3.x: classic queues with ``x-max-priority``."""
    RMQ4 = "rmq4"
    """RabbitMQ 4.x: quorum queues with a delivery limit; priorities are native."""


class LogFormat(StrEnum):
    TEXT = "text"
    """``key=value``, for people."""
    JSON = "json"
    """One object per line, for log stores."""


# Pool -> binding keys of its one queue. A GPU process consumes exactly one queue: with
# several, prefetch counts per queue and tiles are parked behind a busy device.
DEFAULT_POOLS = {
    "control": ["plan.*", "finish.*"],
    "gpu": ["base.*", "tile.*", "upscale.*"],
}


class UpscalerFile(BaseModel):
    """A super-resolution or restoration network of the installation's own, any that spandrel can
    read."""

    model_config = ConfigDict(frozen=True)

    path: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    padding: Annotated[int, Field(ge=0, le=1024)]
    """Its receptive field in pixels, as ``python -m workers.upscale.settings`` computes it; a
    worker refuses plans that leave its network less."""


class Settings(BaseSettings):
    """The process's configuration; every field is the variable ``TILECHORD_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix="TILECHORD_",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # an address carries a password
    )

    # Where things are. The defaults need no server: one process, one folder.
    broker_url: SecretStr = SecretStr("memory://")
    result_backend: SecretStr = SecretStr("embedded")
    store_url: str = Field(default_factory=lambda: (Path.cwd() / ".tilechord" / "store").as_uri())
    s3_endpoint: str = "127.0.0.1:9000"
    s3_access_key: SecretStr = SecretStr("")
    s3_secret_key: SecretStr = SecretStr("")
    s3_region: str = "us-east-1"
    s3_secure: bool = False
    url_expiry_s: Annotated[int, Field(ge=60, le=7 * 86400)] = 86400

    # Queues.
    queue_profile: QueueProfile = QueueProfile.RMQ3
    pools: dict[str, list[str]] = DEFAULT_POOLS
    delivery_limit: Annotated[int, Field(ge=1, le=100)] = 5
    bigger_pool: dict[str, str] = {}
    """Pool -> pool that takes over what does not fit into its workers' memory."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 5
    retry_base_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """Seconds to wait before the first retry, in the worker; doubled before each further one."""
    retry_cap_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_worker_deaths: Annotated[int, Field(ge=1, le=100)] = 3
    """Workers that may die of a unit or step after its first delivery; then it is quarantined."""
    broker_timeout_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Of RabbitMQ and Redis, to connect, to take a message and to answer: a broker under a memory
    alarm never does."""

    # Scheduling.
    lookahead_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    """Predicted seconds of work a pool's queue is kept at; what lies there is past reordering."""
    slice_units: Annotated[int, Field(ge=1, le=256)] = 32
    """Units of one slice, at most."""
    tile_batch: Annotated[int, Field(ge=1, le=64)] = 1
    """Tiles denoised together: on a CPU nothing is gained, on a GPU small tiles leave it idle."""
    message_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Predicted seconds of work that one message carries at most, of tiles that take less."""
    ageing_s: Annotated[float, Field(ge=0, le=30 * 86400)] = 600.0
    """A job rises one class each time it has waited this long without being served; 0 never."""
    unserved_limit_s: Annotated[float, Field(ge=0, le=30 * 86400)] = 86400.0
    """A job ends when for so long no living worker could take its work; 0 lets it wait for ever."""
    group: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Pictures of a batch in work at once, where a request does not say."""
    placing: Strategy = Strategy.LEAST_LOADED
    """Who gets a unit; the same for all processes of an installation."""
    pool_placing: dict[str, Strategy] = {}
    """Pools that are placed otherwise."""
    steal_after_s: Annotated[float, Field(ge=0, le=3600)] = STEAL_AFTER_S
    """Affinity: seconds of work before the nodes that have the model, above which an idle one
    loads it too."""
    tenants: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Weights of tenants that get more or less than a share of 1."""

    # What is taken on at once; 0 is no limit.
    max_open_jobs: Annotated[int, Field(ge=0)] = 0
    max_open_jobs_per_tenant: Annotated[int, Field(ge=0)] = 0
    max_pending_s: Annotated[float, Field(ge=0)] = 0.0
    """Predicted seconds of work that wait for a pool."""

    # Limits of one request.
    max_canvas_mpx: Annotated[float, Field(gt=0)] = 300.0
    max_tiles: Annotated[int, Field(gt=0)] = 2000
    max_count: Annotated[int, Field(gt=0)] = 1000
    max_prompt_chars: Annotated[int, Field(gt=0)] = 4000
    max_input_mpx: Annotated[float, Field(gt=0)] = 200.0

    # What is kept; 0 is for ever.
    cache_ttl_s: Annotated[float, Field(ge=0)] = 0.0
    """A result that is older is not handed out again; its order is rendered anew."""
    intermediates_ttl_s: Annotated[float, Field(ge=0)] = 7 * 86400.0
    """Seconds after its last use for which what a picture was made from stays; 0: until the end of
    its job. Seams are repaired and parts painted anew from it."""
    results_ttl_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after its last order for which a result and the records of its jobs stay."""
    store_limit_gb: Annotated[float, Field(ge=0)] = 0.0
    """Above it goes what can be made again, then the results that were asked for longest ago."""
    clean_period_s: Annotated[float, Field(ge=0)] = 3600.0
    """Seconds between two cleanings by a control worker; 0 for none."""

    # Workers.
    model: str = "atlas"
    models_path: Annotated[list[Path], NoDecode] = []
    """Folders searched for models by name, before the bundled ones; separated as in PATH."""
    upscalers: dict[str, UpscalerFile] = {}
    device: str = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads torch may use, 0 for all cores; several workers on one machine share them."""
    heartbeat_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """Seconds between two signs of life; a node that is silent for three of them is lost."""
    labels: dict[str, str] = {}
    """What a worker tells about itself, for people and for strategies."""
    node_weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of the work that a placing strategy gives this worker, relative to the others."""
    unit_timeout_s: Annotated[float, Field(ge=1, le=86400)] = 840.0
    """A worker that is longer at one unit or step ends itself, and another one gets it."""
    consumer_timeout_s: Annotated[float, Field(ge=0, le=10 * 86400)] = 1800.0
    """RabbitMQ's ``consumer_timeout``, whose default this is; 0 where it is switched off."""
    spot_signal: Literal["USR1", "USR2", "none"] = "USR1"
    spot_grace_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """Clouds give notice 30 to 120 s before they take a machine."""
    gpu_memory_threshold: Annotated[float, Field(ge=0, le=1)] = 0.9
    """A worker pauses while others hold more than this fraction of its GPU's memory; 0 never."""
    cpu_usage_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A worker pauses while others use more than this fraction of all cores; 0 never."""
    load_margin: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """It goes on when the load is this much below its threshold."""
    sensor: Annotated[str, Field(pattern="^(auto|none|file:.+)$")] = "auto"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of this process's Prometheus endpoint on ``metrics_host``; 0 serves none."""
    metrics_host: str = "127.0.0.1"
    log_format: LogFormat = LogFormat.TEXT

    @field_validator("broker_url")
    @classmethod
    def _is_broker(cls, value: SecretStr) -> SecretStr:
        """Several addresses, tried in turn, are separated by ``;`` as Celery does."""
        for url in value.get_secret_value().split(";"):
            scheme = _scheme(url)
            if scheme not in {"memory", "amqp", "amqps"}:
                raise ValueError(
                    f"must start with memory://, amqp:// or amqps://, got {_told(scheme)}"
                )
            if scheme != "memory":
                _check_place(url)
        return value

    @field_validator("result_backend")
    @classmethod
    def _is_backend(cls, value: SecretStr) -> SecretStr:
        """What cannot count a chord is refused where it is needed, by ``check_results``."""
        url = value.get_secret_value()
        scheme = _scheme(url)
        if not scheme and url != "embedded":
            raise ValueError("must start with redis:// or rediss://, got no scheme")
        if scheme in {"redis", "rediss"}:
            _check_place(url)
        return value

    @field_validator("pools")
    @classmethod
    def _are_bindings(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        """Models are spelt as routing keys spell them, or their work would go elsewhere."""
        return {pool: [read_binding(key) for key in keys] for pool, keys in value.items()}

    @field_validator("bigger_pool", "pool_placing")
    @classmethod
    def _name_pools(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        known = info.data.get("pools")  # absent when refused, which is told first
        bigger = value.values() if info.field_name == "bigger_pool" else ()
        for pool in (*value, *bigger):
            if known is not None and pool not in known:
                raise ValueError(
                    f"must name pools of TILECHORD_POOLS ({', '.join(known)}), got {pool!r}"
                )
        return value

    @field_validator("models_path", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        """Folders are separated as in ``PATH``."""
        return value.split(os.pathsep) if isinstance(value, str) else value

    @property
    def is_embedded(self) -> bool:
        """Whether broker and results live inside this process."""
        return self.broker_url.get_secret_value().startswith("memory:")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings. Raises ``ConfigurationError`` naming the variable at fault."""
    try:
        return Settings()
    except SettingsError as err:  # its text names the field in quotes
        name = str(err).split('"')[1].upper()
        text = err.__cause__.doc if isinstance(err.__cause__, JSONDecodeError) else ""
        raise ConfigurationError(f"TILECHORD_{name} must be JSON, got {text[:60]!r}") from err
    except ValidationError as err:
        raise ConfigurationError(_sentence(err)) from err


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name, *path = (str(part) for part in first["loc"])
    variable = f"TILECHORD_{name.upper()}"
    if first["type"] == "value_error":  # our own rules say what they got, without a password
        return f"{variable} {first['ctx']['error']}"
    where = f" at {'.'.join(path)}" if path else ""
    rule = first["msg"][0].lower() + first["msg"][1:]
    return f"{variable}{where}: {rule}, got {first['input']!r}"


def _scheme(url: str) -> str:
    """The scheme of *url*, empty when it has none."""
    found = re.match(r"([a-z][a-z0-9+.-]*)://", url)
    return found[1] if found else ""


def _told(scheme: str) -> str:
    return f"scheme {scheme!r}" if scheme else "no scheme"


def _check_place(url: str) -> None:
    """Raises ``ValueError``, which never quotes *url*: a misread port may be its password."""
    try:
        address = urlsplit(url)
        host, _port = address.hostname, address.port
    except ValueError:
        raise ValueError(
            "must have a host and a port of 0 to 65535 after its scheme, "
            "and '/', '#', '?', '[' and ']' in a password percent-encoded"
        ) from None
    if not host:
        raise ValueError(f"must have a host after {address.scheme}://")
