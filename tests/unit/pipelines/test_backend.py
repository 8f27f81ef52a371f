"""A faster way to compute a network is taken only where it gives what torch gives."""

import pytest
import torch
from monai.networks.nets import UNet

from pipelines.backend import Windows, _judged, choose, fixed_inputs, least_dice

WINDOW = (16, 16, 16)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return UNet(3, 1, 3, (4, 8), (2,), num_res_units=1, norm="batch").eval().requires_grad_(False)


def test_openvino_gives_what_torch_gives(network) -> None:
    pytest.importorskip("openvino")
    choice = choose(network, 1, WINDOW)
    assert choice.network is not None, choice.said
    assert choice.said.startswith("openvino ")
    windows = torch.rand(3, 1, *WINDOW)
    assert torch.allclose(choice.network(windows), network(windows), atol=1e-4)
    assert torch.equal(choice.network(windows).argmax(1), network(windows).argmax(1))


class Elsewhere(torch.nn.Module):
    """A network that answers what another would, but for what is done to it."""

    def __init__(self, network, change) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, windows):
        return self.change(self.network(windows))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda out: out.flip(1), "disagrees"),
        (lambda out: out * 1.01, "disagrees"),
        (lambda out: out.roll(1, dims=2), "disagrees"),
        (lambda out: out[:, :2], "another kind"),
        (lambda out: out * float("nan"), "another kind"),
    ],
)
def test_what_disagrees_is_not_used(network, change, why) -> None:
    choice = _judged(network, Elsewhere(network, change), fixed_inputs(1, WINDOW), "0")
    assert choice.network is None
    assert why in choice.said
    assert choice.said.startswith("torch ")


def test_what_agrees_is_used(network) -> None:
    choice = _judged(network, Elsewhere(network, lambda out: out + 1e-6), fixed_inputs(1, WINDOW), "0")
    assert choice.network is not None


def test_what_cannot_be_converted_stays_with_torch(network) -> None:
    pytest.importorskip("openvino")
    choice = choose(Elsewhere(network, lambda out: [out, out]), 1, WINDOW)
    assert choice.network is None
    assert choice.said.startswith("torch (")


def test_windows_are_computed_one_by_one(network) -> None:
    seen = []

    def compiled(window):
        seen.append(window.shape)
        return [window * 2]

    found = Windows(compiled)(torch.ones(3, 1, 2, 2, 2))
    assert seen == [(1, 1, 2, 2, 2)] * 3
    assert torch.equal(found, torch.full((3, 1, 2, 2, 2), 2.0))


def test_the_least_of_all_classes_counts() -> None:
    first = torch.zeros(1, 3, 10, 10, 10)
    first[:, 0] = 1.0
    first[:, 2, 0, 0, :4] = 2.0
    second = first.clone()
    second[:, 2, 0, 0, :2] = -1.0
    # Of class 2 half is missing: 2 * 2 / (4 + 2).
    assert least_dice(first, second) == pytest.approx(2 / 3)
    assert least_dice(first, first) == 1.0
