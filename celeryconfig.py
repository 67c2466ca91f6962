"""Celery's configuration; every line that differs from a default says why."""

from app.queues import EXCHANGE, dead_queue, queue_name, queues
from app.settings import settings

_settings = settings()

broker_url = _settings.broker_url.get_secret_value()
result_backend = (
    "app.results:EmbeddedBackend"
    if _settings.is_embedded
    else _settings.result_backend.get_secret_value()
)
# Torch tasks come with the workers that serve them.
imports = (
    "app.tasks",
    "app.telemetry.serve",
    "app.heartbeat",
    "app.remote",
    "app.scheduling.serve",
    "app.retention.serve",
)

# Messages are keys and numbers; nothing else is ever unpacked, least of all a pickle.
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]

# Queues.
task_queues = queues(_settings) if _settings.is_embedded else [*queues(_settings), dead_queue()]
task_default_queue = queue_name("control")
task_default_exchange = EXCHANGE.name
task_default_exchange_type = "topic"
task_default_routing_key = "control.control.default"
task_create_missing_queues = False  # a misspelt queue must fail, not create a classic one
task_default_priority = 5  # between high (9) and low (1)
task_queue_max_priority = None  # set per queue: quorum queues refuse the argument

# Delivery: a tile is acknowledged when it is stored, so that it survives its worker.
task_acks_late = True
task_reject_on_worker_lost = True
task_acks_on_failure = True  # a raised error is final; only lost workers redeliver
# One message in the worker, the others where any worker can get them (app/ahead.py: a second one
# when the first is nearly done). The embedded worker has no
# rivals: there the next tiles wait beside it, not one polling interval away.
worker_prefetch_multiplier = 8 if _settings.is_embedded else 1
# After a reconnect Celery would raise its limit again step by step, from the threads that
# acknowledge, on a connection that its loop reads.
worker_enable_prefetch_count_reduction = False
worker_deduplicate_successful_tasks = False  # its shortcut skips the chord's counter: hangs
# The threads pool cannot cancel, it would only warn. The running tile finishes; its blob makes the
# redelivered message a no-op, which waits for it where it comes to the same worker.
worker_cancel_long_running_tasks_on_connection_loss = False

# Results: Redis counts chord members. Without unbounded retries a three-second restart of it
# leaves workers alive but stuck, or parts acknowledged and never counted.
result_backend_always_retry = True
redis_socket_timeout = 10.0
redis_socket_connect_timeout = _settings.broker_timeout_s
# A client is told within 10 s that Redis is down: Celery's own 20 retries to subscribe take 19 s,
# and those to read never end. Eight take 2.5 s. Workers take both limits off (app/celery.py).
result_backend_transport_options = {"retry_policy": {"timeout": 5.0}}
result_backend_max_retries = 8
redis_backend_health_check_interval = 25
result_expires = 7 * 86400
result_chord_expires = 14 * 86400  # must outlive the longest job and its time in the queue
result_chord_join_timeout = 10.0
result_extended = True  # Flower and `tilechord status` show names and arguments

# Connections.
broker_connection_retry_on_startup = True
broker_heartbeat = 30  # half-open connections are noticed within a minute
broker_connection_timeout = _settings.broker_timeout_s
if _settings.is_embedded:
    # The default of 1 s between polls gives 2 tasks a second; at 5 ms an idle worker takes
    # 0.8 % of a core.
    broker_transport_options = {"polling_interval": 0.005}
else:
    # A publish is confirmed by the broker, or fails within the limits of app/celery.py.
    broker_transport_options = {
        "confirm_publish": True,
        "max_retries": 3,
        "interval_start": 0.0,
        "interval_step": 0.3,
        "interval_max": 1.0,
    }
task_publish_retry_policy = {
    # For a pooled connection that went stale. Each attempt may take broker_timeout_s, and whoever
    # sends is told within 10 s.
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.3,
    "interval_max": 1.0,
}

# Exclusive control queues are refused for 30 s after a half-open connection, and the worker
# that comes back exits on that.
control_queue_exclusive = False
control_queue_durable = True
event_queue_exclusive = False
event_queue_durable = True

# What Flower sees. It asks workers for their events, every 5 s: unasked, they would send three more
# messages a tile, a third of all bytes of the broker.
worker_send_task_events = False
task_send_sent_event = False  # one more message a tile, and nobody reads it

worker_consumer = "app.consuming:Consumer"  # what cannot be decoded goes to the dead letters
worker_hijack_root_logger = False  # our logging set-up stands
worker_proc_alive_timeout = 60  # importing torch takes longer than the default 4 s
