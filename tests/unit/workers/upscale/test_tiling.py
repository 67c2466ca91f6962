"""Networks in use, run in padded tiles: equal to the whole picture, and to nothing less padded."""

import pytest
import torch
from torch import nn

from app.domain.errors import UnsupportedError
from app.domain.geometry import Box
from tests.support.upscalers import Denoiser, Rrdb, Span, convolution
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.load import Upscaler
from workers.upscale.receptive_field import padding_of

NETWORKS = {
    "compact": (lambda: SRVGGNetCompact(features=4, scale=2), 2, 18),
    "SPAN": (Span, 2, 21),
    "RRDB": (Rrdb, 4, 34),
    "DnCNN": (Denoiser, 1, 5),
    "DnCNN before compact": (
        lambda: nn.Sequential(Denoiser(), SRVGGNetCompact(features=4, scale=2)),
        2,
        5 + 18,
    ),
}
SIDE = 72
CORE = Box(36, 36, SIDE, SIDE)


@pytest.fixture(params=NETWORKS)
def network(request):
    """The network in float64, its scale, and the padding known for it."""
    torch.manual_seed(0)
    build, scale, padding = NETWORKS[request.param]
    return build().double().eval().requires_grad_(False), scale, padding


def core_of(network, picture, scale, padding):
    """``CORE`` of the enlarged picture, from a tile that has *padding* px around it."""
    padded = CORE.padded(padding, within=Box(0, 0, SIDE, SIDE))
    enlarged = network(picture[(..., *padded.window)])
    return enlarged[(..., *CORE.relative_to(padded).scaled(scale).window)]


def whole_core(network, picture, scale):
    return network(picture)[(..., *CORE.scaled(scale).window)]


def averaging(network):
    """*network* with flat positive kernels: whatever it reaches counts."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.fill_(1.0 / layer.weight[0].numel())
            layer.bias.fill_(0.5)
    return network


def test_a_networks_padding_is_computed_from_it(network):
    module, scale, padding = network

    assert padding_of(module, scale=scale) == padding


def test_padded_tiles_equal_the_whole(network):
    module, scale, padding = network
    picture = torch.rand((1, 3, SIDE, SIDE), dtype=torch.float64)

    core = core_of(module, picture, scale, padding)

    torch.testing.assert_close(core, whole_core(module, picture, scale), atol=1e-5, rtol=0)


def test_one_pixel_less_padding_is_wrong_where_it_counts(network):
    module, scale, padding = network
    averaging(module)
    picture = torch.ones((1, 3, SIDE, SIDE), dtype=torch.float64)
    picture[:, :, CORE.top - padding] = 1e40  # the farthest row that the core can see

    whole = whole_core(module, picture, scale)

    exact = core_of(module, picture, scale, padding)
    short = core_of(module, picture, scale, padding - 1)
    torch.testing.assert_close(exact, whole, atol=1e-5, rtol=1e-12)
    assert (short - whole).abs().max() > 1e-3


class ChannelAttention(nn.Module):
    """Weighs channels by their mean over the picture, as RCAN and its heirs do."""

    def __init__(self):
        super().__init__()
        self.only = convolution(3, 3)

    def forward(self, pixels):
        features = self.only(pixels)
        return features * torch.sigmoid(features.mean(dim=(2, 3), keepdim=True))


class SelfAttention(nn.Module):
    """Every pixel attends to every other."""

    def __init__(self):
        super().__init__()
        self.only = convolution(3, 3)

    def forward(self, pixels):
        features = self.only(pixels)
        rows = features.flatten(2).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(rows, rows, rows)
        return attended.transpose(1, 2).reshape(features.shape)


@pytest.mark.parametrize("network", [ChannelAttention(), SelfAttention()], ids=["pool", "attend"])
def test_a_network_that_sees_the_whole_picture_is_no_upscaler(network):
    with pytest.raises(UnsupportedError) as refusal:
        Upscaler(network, scale=1, device=torch.device("cpu"))

    assert str(refusal.value) == (
        "a network for tiles must not look beyond the 1 px its layers reach, got 3 px or more"
    )
