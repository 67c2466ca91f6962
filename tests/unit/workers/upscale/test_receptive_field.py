import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from app.domain.errors import UnsupportedError
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.receptive_field import padding_of


def convolution(kernel=3, dilation=1, stride=1, inputs=3):
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, 3, kernel, stride, padding, dilation)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = convolution(), convolution()

    def forward(self, pixels):
        return pixels + self.second(torch.relu(self.first(pixels)))


class HiddenPooling(nn.Module):
    """Looks like one convolution, and scales by the mean of the whole picture."""

    def __init__(self):
        super().__init__()
        self.only = convolution()

    def forward(self, pixels):
        features = self.only(pixels)
        return features * features.mean(dim=(2, 3), keepdim=True)


class HiddenShift(nn.Module):
    """Rolls rows in a plain function: reaches two pixels further than its convolution."""

    def __init__(self):
        super().__init__()
        self.only = convolution()

    def forward(self, pixels):
        return torch.roll(self.only(pixels), 2, dims=2)


@given(
    layers=st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 3)), min_size=1, max_size=5
    )
)
@settings(max_examples=20)
def test_the_padding_is_the_sum_of_what_the_layers_reach(layers):
    module = nn.Sequential(*(convolution(kernel, dilation) for kernel, dilation in layers))

    reach = sum(dilation * (kernel // 2) for kernel, dilation in layers)

    assert padding_of(module, scale=1) == reach


@pytest.mark.parametrize(
    ("convolutions", "shrink", "padding"),
    [(16, False, 18), (16, True, 19), (32, False, 34)],
    ids=["compact-16", "compact-16 halved", "compact-32"],
)
def test_compact_networks_need_what_was_measured(convolutions, shrink, padding):
    network = SRVGGNetCompact(features=8, convolutions=convolutions, shrink=shrink)

    assert padding_of(network.eval(), scale=2 if shrink else 4) == padding


def test_layers_behind_an_enlargement_count_in_small_pixels():
    module = nn.Sequential(
        convolution(),
        nn.Upsample(scale_factor=2, mode="nearest"),
        convolution(),
        convolution(),
        nn.Upsample(scale_factor=2, mode="nearest"),
        convolution(),
    )

    assert padding_of(module, scale=4) == 3  # 1 + 1/2 + 1/2 + 1/4, rounded up


def test_skips_do_not_add_to_the_reach():
    assert padding_of(nn.Sequential(Residual(), Residual()), scale=1) == 4


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.AdaptiveAvgPool2d(1), "AdaptiveAvgPool2d"),
        (nn.MaxPool2d(2), "MaxPool2d"),
        (nn.GroupNorm(1, 3), "GroupNorm"),
        (nn.InstanceNorm2d(3), "InstanceNorm2d"),
        (nn.LayerNorm(8), "LayerNorm"),
        (nn.Linear(8, 8), "Linear"),
        (nn.Softmax(dim=-1), "Softmax"),
        (nn.PixelUnshuffle(2), "PixelUnshuffle"),
        (convolution(stride=2), "Conv2d"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_without_a_fixed_reach_are_refused_by_name(layer, name):
    module = nn.Sequential(convolution(), layer)

    with pytest.raises(UnsupportedError) as refusal:
        padding_of(module, scale=1)

    assert str(refusal.value) == (
        f"a network for tiles must consist of convolutions with a fixed reach, got {name} at 1"
    )


def test_attention_is_refused():
    attention = nn.MultiheadAttention(8, 2)

    with pytest.raises(UnsupportedError, match="got NonDynamicallyQuantizableLinear at "):
        padding_of(nn.Sequential(convolution(), attention), scale=1)


@pytest.mark.parametrize("module", [HiddenPooling(), HiddenShift()], ids=["pooling", "shift"])
def test_a_reach_hidden_in_plain_functions_is_found(module):
    with pytest.raises(
        UnsupportedError,
        match=r"^a network for tiles must not look beyond the 1 px its layers reach, "
        r"got 3 px or more$",
    ):
        padding_of(module, scale=1)
