"""Where in the picture a score comes from: MONAI's Grad-CAM on the last layer of the network."""

from __future__ import annotations

import numpy as np
import torch
from monai.visualize import GradCAM
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

#: The last convolutions: a map of a sixteenth of the picture's side, which is as fine as it gets here.
LAYER = "layer4"


def saliency(network: Module, picture: Tensor, finding: int) -> NDArray[np.float32]:
    """Map how much each place of a picture speaks for a finding.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    picture : Tensor, shape (1, column, row)
        As `scripts.picture.to_picture` gives it.
    finding : int
        Index of the score.

    Returns
    -------
    ndarray, shape (column, row), float32
        0 to 1, or 0 everywhere where nothing speaks for it; a map of attention, not of disease.
    """
    # As it is: MONAI's own post-processing turns the map round, 1 where there is least.
    camera = GradCAM(nn_module=network, target_layers=LAYER, postprocessing=lambda evidence: evidence)
    with torch.enable_grad():
        found = camera(x=picture[None], class_idx=finding)
    evidence = np.asarray(torch.as_tensor(found)[0, 0].detach().cpu().numpy(), dtype=np.float32)
    return evidence / max(float(evidence.max()), np.finfo(np.float32).tiny)
