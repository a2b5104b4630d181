"""Training of networks. Never reads a row outside its plan.

AdamW with a short warm-up and a cosine decay; the kept epoch is the one with the best score on validation
rows, and without validation rows the last. The same seed gives the same weights: all randomness is drawn
inside a fork of the generator, so that nothing before a fit can change it and a fit changes nothing after
it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from msgspec import Meta

from heads.base import FitPlan, Score
from heads.descent import AdamW
from heads.errors import FitError
from heads.examples import Floats, Rows
from heads.layers import Network, Statistics
from heads.losses import quality_loss
from heads.settings import HeadSettings
from heads.streams import READ_BATCH, Reader, chunks

OnEpoch = Callable[[int, float, float | None], None]


class NetworkSettings(HeadSettings, frozen=True, kw_only=True):
    """Settings that every network head has; each head explains them with its own defaults."""

    epochs: Annotated[int, Meta(ge=1)] = 16
    batch: Annotated[int, Meta(ge=1)] = 32
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 2e-3
    weight_decay: Annotated[float, Meta(ge=0, le=10)] = 0.05
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    plcc_weight: Annotated[float, Meta(ge=0, le=100)] = 1.0


# Gradients longer than this are shortened: the correlation term is steep where labels are nearly equal.
CLIP = 5.0


def predict(network: Network, reader: Reader, rows: Rows) -> Floats:
    """Quality of the given rows, (m,), in their order."""
    network.eval()
    with torch.inference_mode():
        parts = [network.quality(batch) for batch in reader.batches(chunks(rows, READ_BATCH))]
    return np.concatenate(parts)


def rate(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step from 0: a tenth of the steps up, then half a cosine down."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))


def train(
    build: Callable[[], Network],
    reader: Reader,
    statistics: Statistics,
    quality: Floats,
    plan: FitPlan,
    settings: NetworkSettings,
    score: Score | None,
    on_epoch: OnEpoch,
) -> tuple[Network, list[dict[str, Any]]]:
    """Builds a network, fits it to the plan's train rows and keeps one epoch of it.

    Args:
        build: makes the untrained network; its random weights follow the plan's seed.
        statistics: of the train rows, from `streams.measure`.
        quality: (n,) labels of all rows; only those of the plan are read.
        score: chooses the epoch on the plan's validation rows; None keeps the last.
        on_epoch: told (epoch from 1, loss, score or None) after each.

    Returns:
        The network as of the kept epoch, and the history: one entry an epoch, the kept one with a note.

    Raises:
        FitError: the loss is no longer a number.
    """
    devices = [torch.device(reader.device)] if reader.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(plan.seed)
        network = build()
        network.set_statistics(statistics, reader.rounding(), quality[plan.train])
        network.to(reader.device)
        return network, _epochs(network, reader, quality, plan, settings, score, on_epoch)


def _epochs(
    network: Network,
    reader: Reader,
    quality: Floats,
    plan: FitPlan,
    settings: NetworkSettings,
    score: Score | None,
    on_epoch: OnEpoch,
) -> list[dict[str, Any]]:
    target = torch.from_numpy((quality[plan.train] - float(network.label_mean)) / float(network.label_scale)).float()
    shuffle = np.random.default_rng(plan.seed % 2**63)
    descent = AdamW(network.parameters(), settings.weight_decay, CLIP)
    parts = math.ceil(len(plan.train) / settings.batch)
    history: list[dict[str, Any]] = []
    best, kept = -math.inf, 0
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    for epoch in range(settings.epochs):
        start = time.monotonic()
        order = shuffle.permutation(len(plan.train))
        batches = chunks(order, settings.batch)
        total = 0.0
        network.train()
        for i, (part, batch) in enumerate(zip(batches, reader.batches([plan.train[p] for p in batches]), strict=True)):
            loss = quality_loss(network(batch), target[torch.from_numpy(part)].to(reader.device), settings.plcc_weight)
            descent.step(loss, settings.learning_rate * rate(epoch * parts + i, settings.epochs * parts))
            total += loss.item() * len(part)
        mean_loss = total / len(plan.train)
        if not math.isfinite(mean_loss):
            raise FitError(
                f"Expected a finite loss, found {mean_loss} in epoch {epoch + 1}. Lower the learning rate: "
                f"--set learning_rate={settings.learning_rate / 10:g}."
            )
        valid = _validate(network, reader, quality, plan.valid, score)
        if valid is not None and valid > best:
            best, kept = valid, epoch
            weights = {name: value.clone() for name, value in network.state_dict().items()}
        history.append(
            {
                "epoch": epoch + 1,
                "train_loss": mean_loss,
                "valid_srcc": valid,
                "seconds": time.monotonic() - start,
                "note": "",
            }
        )
        on_epoch(epoch + 1, mean_loss, valid)
    if best > -math.inf:
        network.load_state_dict(weights)
        history[kept]["note"] = f"kept: best of {settings.epochs} epochs on {len(plan.valid)} validation rows"
    else:
        reasons = {"there are no validation rows": not len(plan.valid), "no score was given": score is None}
        why = next((reason for reason, holds in reasons.items() if holds), "none has a score")
        history[-1]["note"] = f"kept: the last epoch, as {why}"
    network.eval()
    return history


def _validate(network: Network, reader: Reader, quality: Floats, rows: Rows, score: Score | None) -> float | None:
    """The score on validation rows, or None where there are none or it has no value."""
    if score is None or not len(rows):
        return None
    value = float(score(quality[rows], predict(network, reader, rows)))
    return value if math.isfinite(value) else None
