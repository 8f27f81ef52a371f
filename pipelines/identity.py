"""Networks that give back what they are shown, in the place of a bundle's own: what remains is the bundle's geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

#: How sharply a logit rises, from the background to the object.
STEEPNESS = 40.0


class IdentityNetwork(torch.nn.Module):
    """A threshold on the network's own input: each output channel shows the object of one input channel.

    Parameters
    ----------
    image : Tensor, shape (channel, X, Y, Z)
        The whole preprocessed image; most of it is background, which is darker than the object.
    wiring : mapping
        Output channel to input channel; outputs that are not in it show nothing.
    channels : int
        How many the output has.
    prompts : mapping
        Label to output channel, for a network that is asked for labels.
    replaced : Module
        The bundle's own, whose other attributes remain to be had.
    share : float
        Where the object's edge is: see `pipelines.ellipsoids.Known`.
    pooled : bool
        One number for each channel, the highest, as a classifier gives.
    """

    def __init__(
        self,
        image: torch.Tensor,
        wiring: Mapping[int, int],
        channels: int,
        prompts: Mapping[int, int],
        replaced: Any,
        *,
        share: float = 0.5,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self._pooled = pooled
        self._wiring, self._channels, self._prompts = dict(wiring), channels, dict(prompts)
        self._levels = [_levels(image[number], share) for number in range(len(image))]
        self._replaced = (replaced,)  # in a tuple: no submodule of this one

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_"):
                raise
            return getattr(self._replaced[0], name)

    def forward(self, image: torch.Tensor, *_: Any, **asked: Any) -> torch.Tensor:
        """Give logits; shape (batch, channel, ...), (class, 1, ...) where classes are asked for, or (batch, channel)."""
        image = torch.as_tensor(image)
        logits = torch.full((len(image), self._channels, *image.shape[2:]), -STEEPNESS, dtype=torch.float32, device=image.device)
        if 0 not in self._wiring and self._channels > 1:
            logits[:, 0] = 0.0
        for output, source in self._wiring.items():
            edge, above = self._levels[source]
            logits[:, output] = ((image[:, source].float() - edge) / above * STEEPNESS).clamp(-STEEPNESS, STEEPNESS)
        if self._pooled:
            return logits.flatten(2).amax(2)
        if asked.get("class_vector") is None:
            return logits
        wanted = [self._prompts[int(label)] for label in asked["class_vector"].reshape(-1)]
        logits = logits[:1, wanted]
        return logits if asked.get("transpose") else logits.transpose(0, 1)


class IdentityDetector:
    """In the place of a detector: one box around the object that its image shows.

    Parameters
    ----------
    names : sequence of str
        Of box, class and score, as the detector gives them.
    label : int
        The class that is given.
    share : float
        Where the object's edge is: see `pipelines.ellipsoids.Known`.
    """

    def __init__(self, names: Sequence[str], label: int, share: float = 0.5) -> None:
        self._names, self._label, self._share = names, label, share

    def __call__(self, inputs: Any, *_: Any, **__: Any) -> list[dict[str, torch.Tensor]]:
        """Find the object in each image, shape (1, X, Y, Z): corners as indices, the far one beyond the last voxel."""
        return [self._found(torch.as_tensor(image)[0]) for image in inputs]

    def _found(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        edge, _ = _levels(image, self._share)
        places = torch.nonzero(image > edge)
        # A box of MONAI reaches from the first voxel's centre to one step beyond the last one's.
        box = torch.cat([places.amin(0), places.amax(0) + 1]).float()[None]
        values = (box, torch.full((1,), self._label, device=image.device), torch.ones(1, device=image.device))
        return dict(zip(self._names, values, strict=True))


def _levels(channel: torch.Tensor, share: float) -> tuple[float, float]:
    """Where between background and object the edge is, and how far it is from the object."""
    values = torch.as_tensor(channel).float()
    low, high = float(values.median()), float(values.max())
    return low + share * (high - low), max((1 - share) * (high - low), 1e-6)
