"""Heads that are networks: one body for all, given what a network is made of. Never names a variant."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, override

import numpy as np
import torch
from msgspec import Meta
from torch import nn

from heads import trainer
from heads.base import Arrays, FitPlan, Head, Progress, Report, Score
from heads.errors import DataError, HeadError
from heads.examples import Examples, Floats
from heads.layers import Network, Readout, Reduce, Statistics, group_norm
from heads.settings import HeadSettings
from heads.streams import Reader, measure


class NetworkHead(Head):
    """A head that is trained by `trainer.train`. Subclasses say what the network is made of: `build`."""

    def __init__(self, settings: Mapping[str, Any] | HeadSettings | None = None) -> None:
        super().__init__(settings)
        self._network: Network | None = None

    @abstractmethod
    def build(self, widths: Sequence[int]) -> Network:
        """An untrained network for features of these channels or widths."""

    @override
    def steps(self, plan: FitPlan) -> int:
        return self.refined(plan).settings.epochs

    @override
    def fit_plans(
        self, examples: Examples, plans: Sequence[FitPlan], score: Score | None, report: Report
    ) -> Sequence[Self]:
        names = list(examples.features.names)
        widths = [examples.features.channels(name) for name in names]
        rows = np.unique(np.concatenate([part for plan in plans for part in (plan.train, plan.valid)]))
        reader = Reader(examples.features, names, self.device, again=rows)
        measured: dict[bytes, Statistics] = {}  # plans with the same train rows share the pass over them
        fitted: list[Self] = []
        for i, plan in enumerate(plans):
            head = self.refined(plan)
            head.device = self.device
            key = plan.train.tobytes()
            if key not in measured:
                measured[key] = measure(reader, plan.train)

            def on_epoch(
                epoch: int, loss: float, valid: float | None, i: int = i, epochs: int = head.settings.epochs
            ) -> None:
                report(Progress(self.variant, i, len(plans), epoch, epochs, loss, valid))

            def build(head: Self = head) -> Network:
                return head.build(widths)

            head._network, head.history = trainer.train(
                build, reader, measured[key], examples.quality, plan, head.settings, score, on_epoch
            )
            fitted.append(head)
        return fitted

    @override
    def predict_rows(self, examples: Examples) -> Floats:
        network = self._fitted().to(self.device)
        reader = Reader(examples.features, self.features, self.device)
        return trainer.predict(network, reader, np.arange(len(examples), dtype=np.int64))

    @override
    def state(self) -> Arrays:
        return {name: value.detach().cpu().numpy() for name, value in self._fitted().state_dict().items()}

    @override
    def restore(self, arrays: Arrays) -> None:
        with torch.random.fork_rng(devices=[]):
            network = self.build(self.widths)
        try:
            network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        except RuntimeError as error:
            raise DataError(
                f"Expected the weights of a {self.variant} head for {', '.join(self.features)}, found "
                f"others: {error}. "
                "Train the head again."
            ) from error
        self._network = network.eval()

    @override
    def parameters(self) -> int:
        return 0 if self._network is None else sum(p.numel() for p in self._network.parameters())

    def _fitted(self) -> Network:
        if self._network is None:
            raise HeadError(f"Expected a fitted {self.variant} head, found one that was never fitted. Call fit first.")
        return self._network


class MapSettings(trainer.NetworkSettings, frozen=True, kw_only=True):
    """Settings of a head that reads maps.

    epochs: passes over the train rows.
    batch: rows a step.
    learning_rate: peak of AdamW's rate; a tenth of the steps up, then a half cosine down.
    weight_decay: AdamW's, on matrices only.
    dropout: share dropped before both layers of the readout.
    plcc_weight: weight of (1 - PLCC) beside smooth L1.
    width: channels that each map is reduced to, for each branch.
    hidden: width of the readout's hidden layer.
    """

    width: Annotated[int, Meta(ge=1, le=1024)] = 64
    hidden: Annotated[int, Meta(ge=1, le=8192)] = 64


class MapEmbedding(nn.Module):
    """One map -> one vector: reduce to a common width, norm, ReLU, then the branches side by side.

    Args:
        channels: C of the map.
        width: channels after the 1x1 convolution.
        branches: each makes a module (g, width, h, w) -> (g, 2 width).
    """

    def __init__(self, channels: int, width: int, branches: Sequence[Callable[[int], nn.Module]]) -> None:
        super().__init__()
        self.reduce = Reduce(channels, width)
        self.norm = group_norm(width)
        self.branches = nn.ModuleList(branch(width) for branch in branches)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(g, h, w, C) -> (g, 2 width x branches)."""
        x = torch.relu(self.norm(self.reduce(maps)))
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class MapHead(NetworkHead):
    """A network head on maps: each map has its own embedding; the vectors are read out together."""

    reads = "maps"
    Settings: ClassVar[type[HeadSettings]] = MapSettings
    branches: ClassVar[tuple[Callable[[int], nn.Module], ...]]

    @override
    def build(self, widths: Sequence[int]) -> Network:
        width, hidden = self.settings.width, self.settings.hidden
        embeds = [MapEmbedding(channels, width, self.branches) for channels in widths]
        embedding = 2 * width * len(self.branches) * len(widths)
        return Network(embeds, Readout(embedding, hidden, self.settings.dropout))
