"""``python -m app.telemetry --port 9808`` serves the queues' metrics until it is stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

from prometheus_client import CollectorRegistry, start_http_server

from app.domain.errors import ConfigurationError
from app.settings import settings
from app.telemetry.logs import set_up_logging
from app.telemetry.queues import QueueCollector

log = logging.getLogger("app.telemetry")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; 2 when it cannot."""
    chosen = settings()
    options = _parser().parse_args(arguments)
    set_up_logging(logging.INFO, chosen.log_format)
    registry = CollectorRegistry()
    try:
        if chosen.is_embedded:
            raise ConfigurationError("TILECHORD_BROKER_URL is not set: there are no queues to show")
        registry.register(QueueCollector(chosen))
        server, thread = start_http_server(options.port, addr=options.host, registry=registry)
    except (ConfigurationError, OSError) as err:
        print(f"metrics cannot be served on {options.host}:{options.port}: {err}", file=sys.stderr)  # noqa: T201
        return 2
    log.info("metrics.served", extra={"host": options.host, "port": options.port})
    _wait_for_stop()
    server.shutdown()
    thread.join()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.telemetry", description=__doc__)
    parser.add_argument("--host", default=settings().metrics_host)
    parser.add_argument("--port", type=int, default=settings().metrics_port or 9808)
    return parser


def _wait_for_stop() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    sys.exit(main())
