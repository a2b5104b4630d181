"""An encoder that is named and checked, and loaded where it is to work: here, or in another process; and what its
numbers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cache.encoders.base import Encoder
    from cache.identity import Identity
    from cache.views import View


class Recipe(NamedTuple):
    """What a loader is asked for.

    Attributes:
        weights: None where they come with the encoder.
        settings: further arguments of its loader.
    """

    encoder: str
    weights: Path | None
    settings: dict[str, str]

    def load(self, device: str) -> Encoder:
        """The encoder on a device.

        Raises:
            UsageError: the encoder does not run there.
            WeightsError: the weights are damaged or of another shape.
        """
        from cache.encoders.base import OPENVINO
        from harness.errors import UsageError
        from harness.registry import encoders

        family = encoders().get(self.encoder)
        if device == OPENVINO and not family.spec.openvino:
            raise UsageError(f"{self.encoder} does not run by OpenVINO; found --device {device}. Try cpu or auto.")
        return family.load(self.weights, device, **self.settings)


def recipe(name: str, weights: Path | None, precision: str) -> Recipe:
    """A recipe whose names are known and whose weights are there.

    Raises:
        UsageError: unknown encoder, or one that does not compute in this precision.
        NotFoundError: its weights are not where they were looked for.
    """
    from harness import locate
    from harness.config import current
    from harness.errors import UsageError
    from harness.registry import encoders

    spec = encoders().get(name).spec
    if precision not in spec.precisions:
        raise UsageError(f"{name} computes in {', '.join(spec.precisions)}; found --precision {precision}.")
    settings = {"precision": precision} if len(spec.precisions) > 1 else {}
    return Recipe(name, locate.weights_file(spec, weights, current()[0]), settings)


def resolve_encoder(
    name: str,
    weights: Path | None,
    views: Sequence[str] | None,
    device: str,
    precision: str = "fp32",
    resize: str = "pillow",
) -> tuple[Encoder, list[View]]:
    """The loaded encoder, and the views that are named, each once: its own where none is.

    Raises:
        UsageError: unknown encoder, view, resize or device.
        NotFoundError: its weights are not where they were looked for.
        WeightsError: the weights are damaged or of another shape.
    """
    from cache.encoders.base import seen_through
    from cache.views import parse_view
    from harness.devices import encoder_device

    loaded = recipe(name, weights, precision).load(encoder_device(device))
    chosen = [parse_view(view, resize) for view in dict.fromkeys(views or [loaded.spec.view])]
    for view in chosen:
        seen_through(loaded, view)  # refuses what it would refuse at the first image
    return loaded, chosen


def identity_of(encoder: Encoder, view: View) -> Identity:
    """What the numbers of a store mean: encoder, view and decoding rule."""
    from cache.identity import Identity
    from cache.images import DECODING

    return Identity(encoder=encoder.identity, view=view.identity(), decoding=DECODING)
