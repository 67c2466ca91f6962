"""What protects a worker's two messages from each other."""

from tests.faults.protection import protection

_TWO_MESSAGES = "tests/unit/workers/execution/test_two_messages.py"
_NEXT_MESSAGE = "tests/unit/workers/execution/test_next_message.py"

WORKERS = (
    protection(
        "messages-of-one-unit-wait",
        "workers/turns.py",
        "is_free = self._claims.wait_for(lambda: self._claimed.isdisjoint(units), _LOOK_S)",
        "is_free = True",
        _TWO_MESSAGES + "::test_a_message_that_comes_twice_at_once_is_rendered_once",
    ),
    protection(
        "one-thread-renders",
        "workers/turns.py",
        'ThreadPoolExecutor(1, "tilechord-rendering")',
        "ThreadPoolExecutor(2)",
        _TWO_MESSAGES + "::test_two_messages_never_render_at_once_and_always_in_the_same_thread",
    ),
    protection(
        "one-message-a-subscription",
        "app/ahead.py",
        "consumer.task_consumer.channel.basic_qos(0, 1, False)",
        "pass",
        "tests/integration/test_ahead.py::test_a_worker_has_one_message_until_it_asks_for_the_next",
    ),
    protection(
        "requests-end-with-their-connection",
        "app/ahead.py",
        "is_settled = connection != self._connection",
        "is_settled = False",
        "tests/unit/test_ahead.py"
        "::test_what_came_with_a_connection_that_broke_asks_for_nothing_on_the_next",
    ),
    protection(
        "nobody-beside-a-suspect",
        "workers/execution.py",
        "nothing if delivery.is_again else delivery.ask_next",
        "delivery.ask_next",
        _NEXT_MESSAGE + "::test_a_message_that_somebody_had_is_alone_with_its_worker",
    ),
    protection(
        "long-waits-are-passed-on",
        "workers/errand.py",
        "if self.delivery.can_pass_on and",
        "if False and",
        _TWO_MESSAGES + "::test_what_waits_too_long_for_a_busy_worker_goes_to_another[other units]",
    ),
)
