"""The three servers: RabbitMQ, Redis and an S3 server, each private to one site."""

from __future__ import annotations

import json

import redis
from amqp.exceptions import AMQPError
from kombu import Connection
from kombu.exceptions import OperationalError
from minio import Minio

from app.cluster.packages import RABBITMQ, RABBITMQCTL, SEARCH_PATH, server, weed
from app.cluster.ports import LOOPBACK, is_listening
from app.cluster.service import Service, Site, write_private
from app.domain.errors import RenderError
from app.queues import connect
from app.storage.s3 import S3Store, bounded_pool

USER = "tilechord"
VHOST = "tilechord"
BUCKET = "tilechord"
REGION = "us-east-1"
_NODE = "tilechord@localhost"


def client_env(site: Site) -> dict[str, str]:
    """The ``TILECHORD_*`` variables of a client or worker of the cluster."""
    return {
        "TILECHORD_BROKER_URL": broker_url(site),
        "TILECHORD_RESULT_BACKEND": redis_url(site),
        "TILECHORD_STORE_URL": f"s3://{BUCKET}",
        "TILECHORD_S3_ENDPOINT": f"{LOOPBACK}:{site.ports['s3']}",
        "TILECHORD_S3_ACCESS_KEY": site.secrets.s3_access,
        "TILECHORD_S3_SECRET_KEY": site.secrets.s3_secret,
        "TILECHORD_S3_REGION": REGION,
        "TILECHORD_S3_SECURE": "false",
    }


def broker_url(site: Site, vhost: str = VHOST) -> str:
    return f"amqp://{USER}:{site.secrets.broker}@{LOOPBACK}:{site.ports['amqp']}/{vhost}"


def redis_url(site: Site) -> str:
    return f"redis://:{site.secrets.redis}@{LOOPBACK}:{site.ports['redis']}/0"


def epmd(site: Site) -> Service:
    """Erlang's name server; a private one, because a shared one would outlive the cluster."""
    port = site.ports["epmd"]
    return Service(
        name="epmd",
        argv=(server("epmd"), "-port", str(port), "-address", LOOPBACK),
        env={"PATH": SEARCH_PATH},
        folder=site.home("epmd"),
        ports={"epmd": port},
        is_ready=lambda: is_listening(port),
    )


def rabbitmq(site: Site) -> Service:
    """RabbitMQ with one user and one virtual host, Prometheus metrics, no guest, no management."""
    home = site.home("rabbitmq")
    ports = {name: site.ports[name] for name in ("amqp", "amqp-metrics", "amqp-dist")}
    write_private(home / "rabbitmq.conf", _rabbitmq_conf(site))
    write_private(home / "enabled_plugins", "[rabbitmq_prometheus].\n")
    return Service(
        name="rabbitmq",
        argv=(str(RABBITMQ),),
        env=_rabbitmq_env(site),
        folder=home,
        ports=ports,
        is_ready=lambda: _broker_answers(broker_url(site)),
        start_limit_s=120.0,  # 8 s on two idle cores, several times that on a busy machine
        grace_s=30.0,
    )


def rabbitmqctl(site: Site, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run ``rabbitmqctl`` against the site's node."""
    return [str(RABBITMQCTL), "-n", _NODE, *arguments], _rabbitmq_env(site)


def redis_server(site: Site) -> Service:
    """Redis with a password and an append-only file, so that a restart loses no chord count."""
    home, port = site.home("redis"), site.ports["redis"]
    lines = (
        f"bind {LOOPBACK}",
        f"port {port}",
        f"dir {json.dumps(str(home))}",
        f"requirepass {site.secrets.redis}",
        "appendonly yes",
        'save ""',
    )
    # A file, not arguments: every user of the machine can read those.
    write_private(home / "redis.conf", "\n".join(lines) + "\n")
    return Service(
        name="redis",
        argv=(server("redis-server"), str(home / "redis.conf")),
        env={"PATH": SEARCH_PATH},
        folder=home,
        ports={"redis": port},
        is_ready=lambda: _redis_answers(redis_url(site)),
    )


def s3_server(site: Site) -> Service:
    """SeaweedFS in one process: master, volumes, filer and the S3 gateway."""
    home = site.home("s3")
    write_private(home / "identities.json", _identities(site))
    (home / "blobs").mkdir(exist_ok=True)
    parts = ("master", "volume", "filer", "s3")
    ports = {name: site.ports[name] for part in parts for name in (part, f"{part}-grpc")}
    listen = [
        f"-{part}.{kind}={ports[name]}"
        for part in parts
        for kind, name in (("port", part), ("port.grpc", f"{part}-grpc"))
    ]
    return Service(
        name="s3",
        argv=(weed(), "-logtostderr=true", "server", *listen, *_SEAWEED, f"-dir={home / 'blobs'}"),
        env={"PATH": SEARCH_PATH, "HOME": str(home), "TMPDIR": str(home)},
        folder=home,
        ports=ports,
        is_ready=lambda: is_listening(ports["s3"]) and _store_answers(site),
        # It waits 15 s for its own idle connections. Ending it earlier loses nothing: a blob
        # is in its file when the write is answered.
        grace_s=2.0,
    )


_SEAWEED = (
    f"-ip={LOOPBACK}",
    f"-ip.bind={LOOPBACK}",
    "-filer",
    "-s3",
    "-s3.config=identities.json",
    "-s3.iam=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",  # on by default, and it talks to the internet
    "-master.volumeSizeLimitMB=1024",
    "-master.electionTimeout=1s",  # it is its own only voter; 10 s cost up to 20 s a restart
    "-volume.max=0",  # as many volumes as the disk holds; the default of 8 fills up
    "-volume.preStopSeconds=0",  # there is no second volume server to hand over to
)


def _rabbitmq_conf(site: Site) -> str:
    lines = (
        f"listeners.tcp.1 = {LOOPBACK}:{site.ports['amqp']}",
        f"default_vhost = {VHOST}",
        f"default_user = {USER}",  # made at the first start, instead of guest
        f"default_pass = {site.secrets.broker}",
        f"prometheus.tcp.ip = {LOOPBACK}",
        f"prometheus.tcp.port = {site.ports['amqp-metrics']}",
        "log.console = true",
        "log.file = false",
    )
    return "\n".join(lines) + "\n"


def _rabbitmq_env(site: Site) -> dict[str, str]:
    home = site.home("rabbitmq")
    return {
        "PATH": SEARCH_PATH,
        "LANG": "C.UTF-8",
        "HOME": str(home),  # holds the Erlang cookie
        "ERL_EPMD_PORT": str(site.ports["epmd"]),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",  # not the system's own
        "RABBITMQ_DIST_PORT": str(site.ports["amqp-dist"]),
        # The start script then becomes the server, so that the recorded process is the server.
        "RUNNING_UNDER_SYSTEMD": "true",
        # Erlang listens on every interface unless told; idle schedulers spin unless told.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def _identities(site: Site) -> str:
    credentials = {"accessKey": site.secrets.s3_access, "secretKey": site.secrets.s3_secret}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps(
        {"identities": [{"name": USER, "credentials": [credentials], "actions": actions}]}
    )


def _broker_answers(url: str) -> bool:
    try:
        with Connection(url, connect_timeout=2) as connection:
            connect(connection)
    except (OSError, AMQPError, OperationalError):  # AMQPError: up, but its user is not made yet
        return False
    return True


def _redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _store_answers(site: Site) -> bool:
    client = Minio(
        f"{LOOPBACK}:{site.ports['s3']}",
        access_key=site.secrets.s3_access,
        secret_key=site.secrets.s3_secret,
        secure=False,
        region=REGION,
        http_client=bounded_pool(connect_s=1.0, read_s=5.0, retries=0),
    )
    store = S3Store(client, BUCKET, prefix="", url_expiry_s=60)
    try:
        store.make_bucket()
        # The gateway answers before the volumes take writes, and after a restart before they read.
        store.put("probe/ready", b"ready")
        store.get("probe/ready")
    except RenderError:
        return False
    return True
