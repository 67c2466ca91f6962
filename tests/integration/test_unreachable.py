"""How long a client waits for what does not answer: its own patience, so no server is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bootstrap import build_runtime
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from tests.support.card_model import write_card_model
from tests.support.installation import Installation

# A port that nothing listens on: it is reserved and no service was ever given it.
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def site(tmp_path: Path) -> Installation:
    """An installation whose servers are gone, with one job in its store."""
    write_card_model(tmp_path / "models" / "tiny")
    variables = {
        "TILECHORD_BROKER_URL": f"amqp://{NOWHERE}",
        "TILECHORD_RESULT_BACKEND": f"redis://:pw@{NOWHERE}/0",
    }
    made = Installation(tmp_path, tmp_path / "models", "tiny", variables)
    app = build_runtime(
        Settings(store_url=made.store.as_uri(), models_path=[made.models], model="tiny")
    )
    request = read_request({"prompt": "a hill", "width": 64, "height": 64})
    app.ledger.accept("job-1", request, plan_request(request, app.catalogue, app.settings))
    return made


@pytest.mark.parametrize(
    "call",
    ["client.submit({'prompt': 'a hill'})", "client.resume('job-1')"],
    ids=["submit", "resume"],
)
def test_a_client_is_told_within_ten_seconds_that_results_do_not_answer(
    call: str, site: Installation
) -> None:
    result = site.python(
        "import time\n"
        "from app import client, tasks\n"
        "from app.domain.errors import BrokerUnavailableError\n"
        "started = time.monotonic()\n"
        "try:\n"
        f"    {call}\n"
        "except BrokerUnavailableError as err:\n"
        "    print(time.monotonic() - started)\n"
        "    raise SystemExit(str(err))\n"
    )

    assert result.stderr.splitlines()[-1] == (
        "results backend redis://:**@127.0.0.1:1/0 does not answer"
    )
    assert float(result.stdout) < 10
