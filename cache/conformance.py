"""What any encoder must do, built-in or from a plugin. Never judges how good its features are.

A plugin's test is one line: `check_encoder(MyFamily())`, with `weights=` where it needs a file. Images are made here:
a few sizes, among them odd ones and a single pixel, of smooth random colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cache.encoders.base import Encoder, EncoderSpec, Facts, Family, ask
from cache.errors import ImageError
from cache.features import expand, parse_feature
from cache.identity import Identity, canonical
from cache.views import parse_view

SIZES = ((64, 48), (33, 65), (1, 1), (97, 31))  # width, height, before the view
FACTS = ("name", "title", "licence", "source", "training_data", "normalisation")
TOLERANCE = 1e-4  # relative to the largest value of a map: kernels differ with the batch in the last bits


class NotConformingError(Exception):
    """An encoder does not do what every encoder must; lists all checks that failed."""

    exit_code = 1


@dataclass(frozen=True)
class Case:
    """An encoder, loaded twice."""

    encoder: Encoder
    again: Encoder

    @property
    def taps(self) -> list[str]:
        """Names of all its taps."""
        return [tap.name for tap in self.encoder.spec.taps]

    def encode(self, pixels: torch.Tensor, taps: list[str] | None = None) -> dict[str, torch.Tensor]:
        """Maps and vectors of a whole batch without padding."""
        return self.ask(pixels, (pixels.shape[2], pixels.shape[3]), taps or self.taps)

    def ask(self, pixels: torch.Tensor, valid: tuple[int, int], taps: list[str]) -> dict[str, torch.Tensor]:
        """As `Encoder.encode`, with made-up facts for an encoder that reads these."""
        facts = Facts(bytes=4321, width=valid[1], height=valid[0], jpeg_quality=75, source="made")
        return ask(self.encoder, pixels, valid, taps, [facts] * len(pixels))


def images(spec: EncoderSpec, count: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """(count, 3, H, W) uint8: smooth random colours as the encoder's own view shows them."""
    width, height = parse_view(spec.view).size(*size)
    coarse = np.random.default_rng(seed).random((count, 3, 4, 4), dtype=np.float32) * 255
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), (height, width), mode="bilinear")
    return smooth.round().to(torch.uint8)


def need(true: bool, what: str) -> None:
    """Raises what is wrong unless it is right."""
    if not true:
        raise NotConformingError(what)


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal but for the last bits."""
    scale = max(float(other.abs().max()), 1e-6)
    return one.shape == other.shape and bool((one - other).abs().max() <= TOLERANCE * scale)


def declares_what_can_be_kept(case: Case) -> None:
    """Taps with names that fit `tap:what`, its output among them, a view that exists, facts that are filled in."""
    spec = case.encoder.spec
    need(0 < len(spec.taps) == len(set(case.taps)), f"taps must be there and differ: {case.taps}")
    for tap in spec.taps:
        need(parse_feature(f"{tap.name}:map").tap == tap.name, f"{tap.name!r} is not a tap's name")
        need(tap.channels > 0 and tap.stride >= 0, f"{tap}: channels must be positive, stride too (0: a vector)")
    need(spec.output in case.taps, f"its output {spec.output!r} is none of its taps {case.taps}")
    need(bool(expand(spec.kept, case.taps, vectors=spec.vectors)), f"nothing is kept of it by default: {spec.kept}")
    empty = [fact for fact in FACTS if not getattr(spec, fact)]
    need(not empty, f"these facts are empty: {', '.join(empty)}")
    need(spec.batch >= 1 and math.isfinite(spec.gflop) and spec.gflop >= 0, "batch or gflop make no sense")
    need(set(case.encoder.stamps) <= {"UNTRAINED", "UNVERIFIED"}, f"unknown stamps {case.encoder.stamps}")
    seen_nothing = spec.untrained or spec.formula
    need(bool(spec.trained_on) or seen_nothing, "trained_on is empty: name the corpora, or say `unknown`")
    need(not spec.untrained or "UNTRAINED" in case.encoder.stamps, "untrained weights must be stamped UNTRAINED")


def has_an_identity(case: Case) -> None:
    """All four parts filled in, the same after loading again, and JSON."""
    identity = case.encoder.identity
    need(identity == case.again.identity, f"loaded again it has another identity: {case.again.identity}")
    parts = (identity.name, identity.weights, identity.code, identity.precision)
    need(all(isinstance(part, str) and part for part in parts), f"a part of its identity is empty: {identity}")
    canonical(Identity(identity, parse_view(case.encoder.spec.view).identity(), "1"))


def gives_maps_as_declared(case: Case) -> None:
    """float32, finite, declared channels, at most the declared grid (none for a vector), odd sizes and a pixel too;
    or an ImageError.
    """
    for size in SIZES:
        pixels = images(case.encoder.spec, 1, size)
        h, w = pixels.shape[2:]
        try:
            maps = case.encode(pixels)
        except ImageError as error:
            need(bool(error.reason), "an ImageError needs a reason")
            need(size != SIZES[0], f"an ordinary image of {w}x{h} pixels is refused: {error}")
            continue
        need(sorted(maps) == sorted(case.taps), f"asked for {case.taps}, got {sorted(maps)}")
        for tap in case.encoder.spec.taps:
            found = maps[tap.name]
            most = case.encoder.spec.grid(tap.name, w, h) if tap.stride else ()
            fits = found.ndim == 2 + len(most) and found.shape[:2] == (1, tap.channels)
            fits = fits and all(1 <= n <= m for n, m in zip(found.shape[2:], most, strict=True))
            need(fits, f"{tap.name} of {w}x{h} pixels: declared {(1, tap.channels, *most)}, got {tuple(found.shape)}")
            need(found.dtype == torch.float32, f"{tap.name} is {found.dtype}, not float32")
            need(bool(torch.isfinite(found).all()), f"{tap.name} of {w}x{h} pixels is not finite")


def gives_only_what_is_asked(case: Case) -> None:
    """One tap alone has the values that it has among all."""
    whole = case.encode(pixels := images(case.encoder.spec, 1, SIZES[0]))
    for tap in (case.taps[0], case.taps[-1], case.encoder.spec.output):
        alone = case.encode(pixels, [tap])
        need(list(alone) == [tap], f"asked for {tap} alone, got {list(alone)}")
        need(near(alone[tap], whole[tap]), f"{tap} alone has other values than among all taps")


def is_indifferent_to_company(case: Case) -> None:
    """An image's maps alone are its maps in a batch, at any place in it."""
    pixels = images(case.encoder.spec, 3, SIZES[0], seed=1)
    together, turned = case.encode(pixels), case.encode(pixels.flip(0))
    for i in range(3):
        alone = case.encode(pixels[i : i + 1])
        for tap in case.taps:
            need(near(alone[tap][0], together[tap][i]), f"{tap} of an image depends on what else is in its batch")
            need(near(turned[tap][2 - i], together[tap][i]), f"{tap} of an image depends on its place in the batch")


def never_sees_padding(case: Case) -> None:
    """What lies beyond `valid` does not matter."""
    pixels = images(case.encoder.spec, 1, SIZES[0])
    h, w = pixels.shape[2:]
    whole = case.encode(pixels)
    for value in (0, 255):
        padded = torch.nn.functional.pad(pixels, (0, 5, 0, 7), value=value)
        found = case.ask(padded, (h, w), case.taps)
        need(all(near(found[t], whole[t]) for t in case.taps), "padding beyond `valid` changes its maps")


def repeats_itself(case: Case) -> None:
    """The same pixels give the same bytes, now and from the encoder loaded again; the pixels stay as they were."""
    pixels, before = images(case.encoder.spec, 2, SIZES[1]), images(case.encoder.spec, 2, SIZES[1])
    first, second = case.encode(pixels), case.encode(pixels)
    loaded = Case(case.again, case.again).encode(pixels)
    need(torch.equal(pixels, before), "it changes the pixels that it was given")
    need(all(torch.equal(first[t], second[t]) for t in case.taps), "it is not the same twice: training mode, dropout?")
    need(all(torch.equal(first[t], loaded[t]) for t in case.taps), "loaded again it gives other values")


def tells_images_apart(case: Case) -> None:
    """Another image has another output."""
    found = case.encode(images(case.encoder.spec, 2, SIZES[0], seed=2))[case.encoder.spec.output]
    need(not torch.equal(found[0], found[1]), "two different images have the same output")


CHECKS: tuple[Callable[[Case], None], ...] = (
    declares_what_can_be_kept,
    has_an_identity,
    gives_maps_as_declared,
    gives_only_what_is_asked,
    is_indifferent_to_company,
    never_sees_padding,
    repeats_itself,
    tells_images_apart,
)


def check_encoder(family: Family, weights: Path | None = None, device: str = "cpu") -> list[str]:
    """Runs every check on a family's encoder.

    Args:
        weights: the file to load, where they are not embedded.

    Returns:
        Names of the checks, all of which passed.

    Raises:
        NotConformingError: names every check that failed, and why.
    """
    case = Case(family.load(weights, device), family.load(weights, device))
    failed: list[str] = []
    for check in CHECKS:
        try:
            check(case)
        except Exception as error:  # an encoder may be anyone's
            kind = "" if isinstance(error, NotConformingError) else f"{type(error).__name__}: "
            failed.append(f"  {check.__name__}: {kind}{error}")
    if failed:
        raise NotConformingError(
            f"Expected {family.spec.name} to do what every encoder must; found {len(failed)} failures:\n"
            + "\n".join(failed)
        )
    return [check.__name__ for check in CHECKS]
