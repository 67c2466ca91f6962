"""``python -m app.telemetry --port 9808`` serves the queues' metrics until it is stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

from prometheus_client import CollectorRegistry, start_http_server

from app.domain.errors import ConfigurationError, RenderError
from app.exits import exit_code
from app.settings import Settings, settings
from app.telemetry.logs import set_up_logging
from app.telemetry.queues import QueueCollector

log = logging.getLogger("app.telemetry")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; one sentence and its exit code when it cannot."""
    try:
        chosen = settings()
        options = _parser(chosen).parse_args(arguments)
        set_up_logging(logging.INFO, chosen.log_format)
        _serve(chosen, options.host, options.port)
    except RenderError as err:
        print(f"tilechord: {err}", file=sys.stderr)  # noqa: T201
        return exit_code(err)
    return 0


def _parser(chosen: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.telemetry", description=__doc__)
    parser.add_argument("--host", default=chosen.metrics_host)
    parser.add_argument("--port", type=int, default=chosen.metrics_port or 9808)
    return parser


def _serve(chosen: Settings, host: str, port: int) -> None:
    if chosen.is_embedded:
        raise ConfigurationError("TILECHORD_BROKER_URL is not set: there are no queues to show")
    registry = CollectorRegistry()
    registry.register(QueueCollector(chosen))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as err:  # OverflowError: a port above 65535
        raise ConfigurationError(f"metrics cannot be served on {host}:{port}: {err}") from err
    log.info("metrics.served", extra={"host": host, "port": port})
    _wait_for_stop()
    server.shutdown()
    thread.join()


def _wait_for_stop() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    sys.exit(main())
