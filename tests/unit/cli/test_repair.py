from __future__ import annotations

import pytest

from app import client
from app.bootstrap import runtime
from app.cli import mending
from app.domain.errors import InvalidRequestError, NotFoundError
from app.domain.phases import LAYOUT_DECIDED
from app.domain.work import Stage, Work
from app.planning import plan_request
from app.schemas import Manifest, RenderRequest
from tests.support.installation import Installation
from tests.support.pictures import Floats, checks, one_over_f
from tests.unit.cli.test_quality import SIDE, finish_job

SOUND = one_over_f(SIDE, SIDE, seed=0)
TOUCHING = {"tile": 128, "overlap": 0}


def torn(seed: int) -> Floats:
    """A picture that steps by 12/255 where tiles that only touch meet."""
    return one_over_f(SIDE, SIDE, seed=seed) + checks(SIDE, SIDE, 128, 12 / 255)


def test_seams_above_the_gate_are_found_and_their_parts_can_be_ordered(
    installation: Installation,
) -> None:
    finish_job("torn", torn(0), seed=5, **TOUCHING)
    app = runtime()

    found = client.seam_repairs("torn")

    assert found
    for mend in found:
        request = client.repair_request("torn", mend)
        plan = plan_request(request, app.catalogue, app.settings, app.store.get)
        assert plan.is_edit
        assert request.rerender is not None
        assert request.rerender.job_id == "torn"
        parent = app.ledger.plan("torn").spec
        assert (plan.spec.seed, plan.spec.nsr, plan.spec.tile) == (5, parent.nsr, parent.tile)
        tiles = {index for phase in plan.phases for index in phase.indices}
        assert 0 < len(tiles) < len(plan.phases[-1].grid)


def test_a_repair_starts_from_no_noise_that_would_change_what_is_seen(
    installation: Installation,
) -> None:
    finish_job("torn", torn(0), nsr=6, **TOUCHING)

    requests = [client.repair_request("torn", mend) for mend in client.seam_repairs("torn")]

    assert {request.nsr for request in requests} == {LAYOUT_DECIDED}


def test_a_sound_picture_is_not_repaired(installation: Installation) -> None:
    finish_job("sound", SOUND)

    with pytest.raises(
        InvalidRequestError,
        match=r"^picture 0 of job sound must have a seam_z above 1.5, and a piece of a seam "
        r"between tiles that stands out by 2.5, to be repaired: got a seam_z of 1\.\d\d$",
    ):
        client.seam_repairs("sound")


def test_the_command_refuses_a_sound_picture(installation: Installation) -> None:
    finish_job("sound", SOUND)

    result = installation.invoke("quality", "sound", "--repair-seams")

    assert result.exit_code == 2
    assert "must have a seam_z above 1.5" in result.stderr


def test_only_pictures_that_exist_are_repaired(installation: Installation) -> None:
    finish_job("torn", torn(0), **TOUCHING)

    with pytest.raises(NotFoundError, match=r"^job torn has pictures 0 to 0, got 1$"):
        client.seam_repairs("torn", image=1)


def test_each_part_starts_from_the_picture_of_the_one_before(installation: Installation) -> None:
    finish_job("torn", torn(0), **TOUCHING)
    found, parents = client.seam_repairs("torn") * 2, []

    def finish(request: RenderRequest) -> Manifest:
        assert request.rerender is not None
        parents.append(request.rerender.job_id)
        name = f"mended-{len(parents)}"
        finish_job(name, SOUND, seed=len(parents))
        return client.result(name)

    manifest = mending.paint("torn", 0, found, finish)

    assert parents == ["torn", *(f"mended-{number}" for number in range(1, len(found)))]
    assert manifest.job_id == f"mended-{len(found)}"


def test_the_score_is_told_where_the_old_tiles_met(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    stripe = SOUND.copy()
    stripe[:, 128:384] += 24 / 255  # steps at the tiles of the first job alone
    finish_job("torn", stripe, **TOUCHING)
    finish_job("torn-still", stripe)

    mending.paint("torn", 0, client.seam_repairs("torn")[:1], lambda _: client.result("torn-still"))

    before = client.seam_score("torn", 0, "torn")
    assert before > 1.5
    assert client.seam_score("torn-still", 0, "torn-still") < 1.5
    assert f"seam_z was {before:.2f} and is {before:.2f}" in capsys.readouterr().err


def test_a_repair_is_told_by_its_score(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    finish_job("torn", torn(0), **TOUCHING)
    finish_job("sound", SOUND, seed=1)

    mending.paint("torn", 0, client.seam_repairs("torn")[:1], lambda _: client.result("sound"))

    assert " and is 1." in capsys.readouterr().err


def test_a_render_without_bad_seams_is_left_as_it_is(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    finish_job("sound", SOUND)
    manifest = client.result("sound")

    def refuse(_: RenderRequest) -> Manifest:
        raise AssertionError("nothing is to be rendered")

    assert mending.repair(manifest, refuse) is manifest
    assert "nothing is repaired: picture 0 of job sound" in capsys.readouterr().err
    assert runtime().store.exists(Work(Stage.PICTURE, 0).key(runtime().ledger.plan("sound")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("quality", "torn", "-o", "out.png"),
            "Invalid value for --output, --cluster: is for --repair-seams",
        ),
        (
            ("render", "a hill", "--count", "2", "--repair-seams"),
            "Invalid value for --repair-seams: needs a single picture",
        ),
        (("quality", "nobody", "--repair-seams"), "job nobody is not known"),
    ],
    ids=["output", "count", "unknown job"],
)
def test_an_order_that_makes_no_sense_is_refused(
    installation: Installation, arguments: tuple[str, ...], sentence: str
) -> None:
    result = installation.invoke(*arguments)

    assert result.exit_code in (2, 5)
    assert result.stderr == f"tilechord: {sentence}\n"
