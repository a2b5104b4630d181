"""The head `mlp`: a small gated network on summaries. Never reads a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, override

from msgspec import Meta
from torch import Tensor, nn

from heads.layers import Gated, Network, Standard
from heads.network import NetworkHead
from heads.settings import HeadSettings
from heads.trainer import NetworkSettings


class MlpSettings(NetworkSettings, frozen=True, kw_only=True):
    """Settings of the gated network on summaries.

    epochs: passes over the train rows.
    batch: rows a step.
    learning_rate: peak of AdamW's rate; a tenth of the steps up, then a half cosine down.
    weight_decay: AdamW's, on matrices only.
    dropout: share dropped before every layer.
    plcc_weight: weight of (1 - PLCC) beside smooth L1.
    hidden: units of both gated layers.
    """

    epochs: Annotated[int, Meta(ge=1)] = 40
    batch: Annotated[int, Meta(ge=1)] = 64
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 1e-3
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.3
    hidden: Annotated[int, Meta(ge=1, le=8192)] = 128


class GatedReadout(nn.Module):
    """Two gated layers with a LayerNorm between, then one number."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.first = Gated(inputs, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.second = Gated(hidden, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n,)."""
        h = self.norm(self.first(self.drop(x)))
        return self.out(self.drop(self.second(self.drop(h)))).squeeze(1)


class MlpHead(NetworkHead):
    """A small network with sigmoid gates on summaries, such as mean and deviation of every tap.

    Columns are standardised on the train rows and concatenated; two gated layers (Yadav et al., arXiv
    2509.17374: gates beat plain activations on frozen features) and one output.
    """

    variant = "mlp"
    revision = 1
    reads = "summaries"
    Settings: ClassVar[type[HeadSettings]] = MlpSettings

    @override
    def build(self, widths: Sequence[int]) -> Network:
        settings = self.settings
        return Network(
            [Standard(width) for width in widths],
            GatedReadout(sum(widths), settings.hidden, settings.dropout),
        )
