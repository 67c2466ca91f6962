from app.settings import Settings
from app.telemetry.queues import QueueCollector


def test_a_broker_that_is_down_is_a_value_and_counted():
    collector = QueueCollector(Settings(broker_url="amqp://guest:guest@127.0.0.1:1//"))

    list(collector.collect())
    values = {
        sample.name: sample.value for metric in collector.collect() for sample in metric.samples
    }

    assert values == {"tilechord_broker_up": 0, "tilechord_queue_scrape_errors_total": 2}
