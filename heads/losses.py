"""The loss that networks are trained with. Never reduces over anything but the batch.

Two terms on standardised labels: a robust distance, so that predictions lie on the labels' scale, and one
minus Pearson's correlation, which is what the field reports. Both are this project's choice; SAM-IQA
published no loss.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

# Labels have unit variance over the train rows. A batch may still hold one row, or equal labels: this keeps
# the correlation and its gradient finite there (at most 1 / EPSILON), and moves it by less than 0.1 %
# elsewhere.
EPSILON = 1e-3


def pearson(prediction: Tensor, target: Tensor) -> Tensor:
    """Pearson's correlation of two vectors, 0 where either is constant.

    Args:
        prediction, target: (n,) with n >= 1.

    Returns:
        A scalar from -1 to 1 with a finite gradient everywhere.
    """
    p = prediction - prediction.mean()
    t = target - target.mean()
    power = (p.square().mean() + EPSILON**2) * (t.square().mean() + EPSILON**2)
    return (p * t).mean() / power.sqrt()


def quality_loss(prediction: Tensor, target: Tensor, plcc_weight: float) -> Tensor:
    """Smooth L1 plus `plcc_weight` times (1 - Pearson's correlation) over one batch.

    A batch in which nothing can correlate (one row, equal labels) has the first term alone.

    Args:
        prediction: (n,) standardised quality as predicted, n >= 1.
        target: (n,) standardised labels.
        plcc_weight: 0 for a plain regression.
    """
    loss = F.smooth_l1_loss(prediction, target)
    if plcc_weight and len(target) > 1 and bool((target != target[0]).any()):
        loss = loss + plcc_weight * (1 - pearson(prediction, target))
    return loss
