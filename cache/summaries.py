"""Fixed summaries of a map, named and versioned. A formula that changes gets a new revision, never an old name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Summary(NamedTuple):
    """A fixed function of a map.

    Attributes:
        name, revision: `moments`, 1; both are part of the name on the disk.
        width: channels -> numbers.
        compute: (b, C, h, w) float32 -> (b, d) float32; each image on its own, finite for every finite map down to 1x1.
    """

    name: str
    revision: int
    width: Callable[[int], int]
    compute: Callable[[torch.Tensor], torch.Tensor]


def moments(maps: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation of every channel over the grid: (b, C, h, w) -> (b, 2C), means first.

    The deviation is the unbiased one, 0 on a 1x1 grid; both are taken in float64, so that an image's numbers do not
    depend on what else is in its batch.
    """
    flat = (maps.cpu() if maps.device.type == "mps" else maps).double().flatten(2)  # mps knows no float64
    mean = flat.mean(2)
    n = flat.shape[2]
    std = flat.std(2) if n > 1 else mean.new_zeros(mean.shape)
    import torch

    return torch.cat([mean, std], dim=1).float()


SUMMARIES: dict[str, Summary] = {"moments": Summary("moments", 1, lambda channels: 2 * channels, moments)}
