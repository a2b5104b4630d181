"""Layers of every network head: standardise and reduce, pool, read out. Never mixes the rows of a batch.

Nothing here depends on which rows happen to share a batch: norms are per sample (GroupNorm, LayerNorm) or
fixed statistics of the train rows, so that a prediction is the same alone, in a crowd and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.examples import Floats

# Positions in the batch (g,) with maps of one grid (g, h, w, C), or with vectors (g, d).
Group = tuple[Tensor, Tensor]
Batch = list[list[Group]]  # for each feature its groups
Statistics = list[tuple[Tensor, Tensor]]  # for each feature the mean and deviation of its channels


class Standard(nn.Module):
    """Fixed shift and scale of each channel, from the train rows; saved with the weights.

    Args:
        channels: C.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    def set(self, mean: Tensor, deviation: Tensor, rounding: float) -> None:
        """Takes statistics over; a channel that does not vary beyond its own rounding is switched off.

        Without that, the last bits of a dead channel would be blown up to unit variance.

        Args:
            mean, deviation: (C,) of the train rows.
            rounding: smallest relative step of the numbers as stored (float16: 2 ** -11).
        """
        dead = deviation <= rounding * mean.abs() + 1e-12
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(dead, 0.0, 1.0 / deviation.clamp_min(1e-12)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return (x - self.mean) * self.scale


class Reduce(nn.Module):
    """A 1x1 convolution to a common width on standardised channels, as one matrix product.

    The standardisation is folded into the matrix: the wide map is read once and never copied.

    Args:
        channels: C of the map.
        width: channels after it.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.standard = Standard(channels)
        self.linear = nn.Linear(channels, width)

    def forward(self, maps: Tensor) -> Tensor:
        """(g, h, w, C) channels last -> (g, width, h, w)."""
        weight = self.linear.weight * self.standard.scale
        bias = self.linear.bias - weight @ self.standard.mean
        return F.linear(maps, weight, bias).permute(0, 3, 1, 2).contiguous()


def group_norm(channels: int) -> nn.GroupNorm:
    """A norm over all channels and places of one sample: it sees no other row, and keeps channels
    comparable."""
    return nn.GroupNorm(1, channels)


def mean_and_spread(x: Tensor) -> Tensor:
    """Mean and standard deviation over the grid: (g, C, h, w) -> (g, 2 C); finite, with its gradient, on a
    1x1 grid too."""
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


def gather(groups: list[Group], embed: nn.Module) -> Tensor:
    """Embeds each group apart and puts the rows back in the order of the batch: (n, e)."""
    order = torch.cat([positions for positions, _ in groups]).argsort()
    return torch.cat([embed(values) for _, values in groups])[order]


class Gated(nn.Module):
    """A linear layer times the sigmoid of another: each unit learns when to speak.

    Sigmoid gates did better than ReLU and GELU on frozen features (Yadav et al., arXiv 2509.17374).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return self.value(x) * torch.sigmoid(self.gate(x))


class Readout(nn.Module):
    """Embedding to quality: LayerNorm, one gated hidden layer, one output; dropout before both.

    Args:
        embedding: length of the vector of a row.
        hidden: width of the hidden layer.
        dropout: share of the inputs of either layer that is dropped while training.
    """

    def __init__(self, embedding: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embedding)
        self.drop = nn.Dropout(dropout)
        self.hidden = Gated(embedding, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, embedding) -> (n,)."""
        return self.out(self.drop(self.hidden(self.drop(self.norm(x))))).squeeze(1)


class Network(nn.Module):
    """Embeddings of the features side by side, then a readout; what every network head trains and saves.

    Args:
        embeds: one module for each feature, in order: groups of it -> (g, e). Each holds its `Standard`.
        readout: (n, sum of e) -> (n,), standardised quality.
    """

    label_mean: Tensor
    label_scale: Tensor

    def __init__(self, embeds: Sequence[nn.Module], readout: nn.Module) -> None:
        super().__init__()
        self.embeds = nn.ModuleList(embeds)
        self.readout = readout
        self.register_buffer("label_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("label_scale", torch.ones((), dtype=torch.float64))

    def forward(self, batch: Batch) -> Tensor:
        """Groups of each feature -> (n,) standardised quality in the order of the batch."""
        parts = [gather(groups, embed) for groups, embed in zip(batch, self.embeds, strict=True)]
        return self.readout(torch.cat(parts, dim=1))

    def quality(self, batch: Batch) -> Floats:
        """(n,) on the scale of the labels."""
        return (self(batch).double() * self.label_scale + self.label_mean).cpu().numpy()

    def set_statistics(self, statistics: Statistics, rounding: Sequence[float], labels: Floats) -> None:
        """Takes over what was measured on the train rows: each feature's channels, and the labels (m,)."""
        for embed, (mean, deviation), step in zip(self.embeds, statistics, rounding, strict=True):
            standard = next(module for module in embed.modules() if isinstance(module, Standard))
            standard.set(mean, deviation, step)
        self.label_mean.fill_(float(labels.mean()))
        self.label_scale.fill_(float(labels.std()))
