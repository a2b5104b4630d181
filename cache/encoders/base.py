"""What an encoder is: declared facts that cost nothing to read, and a loaded network that turns pixels into maps.

Maps are cropped to the valid grid: padding is never given out, so it is never stored. No torch is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from cache.errors import UsageError
from cache.features import MAP, VECTOR
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

    from cache.views import View


UNKNOWN = "unknown"
OPENVINO = "openvino"  # the device of an encoder that is run by OpenVINO, on the processor


class Tap(NamedTuple):
    """A named place in an encoder: its channels, and how many pixels one step of its grid is; 0 where it gives one
    vector an image and no map.
    """

    name: str
    channels: int
    stride: int


class Facts(NamedTuple):
    """What is known of an image beside its pixels. Labels are not among it.

    Attributes:
        bytes: of the file.
        width, height: in pixels, orientation applied, before the view.
        jpeg_quality: 1..100, 0 where the file is no JPEG; see `cache.images.jpeg_quality`.
        source: where its dataset says that it is from (a scene, a camera, a generator), "" where it does not.
    """

    bytes: int
    width: int
    height: int
    jpeg_quality: int
    source: str


def grid_at(stride: int, width: int, height: int) -> tuple[int, int]:
    """The grid (h, w) of a tap of this stride for pixels of this size; 1 x 1 of a vector, whose stride is 0."""
    step = stride or max(width, height)
    return -(-height // step), -(-width // step)


class EncoderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is declared of an encoder; nothing here needs its weights.

    Attributes:
        family: architectures that share code.
        output: the tap that is the encoder's own output.
        view: how images become pixels unless a person says otherwise.
        normalisation: in words, on pixel values 0..255.
        preprocessing: in words, how its authors' own code makes pixels of an image, where that is none of our views.
        training_data: in words, for a person.
        trained_on: names of the corpora behind the official weights, as datasets' pages name them; `UNKNOWN` among them
            where that is not all, none where the weights are random.
        gflop: per image at its own view (2 x multiply-accumulate), 0 where unknown.
        weights_file, weights_sha256, weights_url: the official checkpoint; "" where there is none.
        embedded: the weights come with an installed package, are seeded, or there are none.
        formula: there are none.
        untrained: they are seeded: random.
        batch: images a forward pass.
        precisions: what its matrices can be multiplied in, the default first; where there are several, `load` takes
            `precision`.
        features: patterns of what is kept of it by default; where there are none, the output's map or vector
            and all moments.
        reads_facts: `encode` takes `facts` too.
        openvino: `load` takes the device `openvino` too.
    """

    name: str
    title: str
    family: str
    taps: tuple[Tap, ...]
    output: str
    view: str
    normalisation: str
    licence: str
    source: str
    training_data: str
    gflop: float
    weights_file: str = ""
    weights_sha256: str = ""
    weights_url: str = ""
    embedded: bool = False
    formula: bool = False
    untrained: bool = False
    batch: int = 8
    preprocessing: str = ""
    trained_on: tuple[str, ...] = (UNKNOWN,)
    precisions: tuple[str, ...] = ("fp32",)
    features: tuple[str, ...] = ()
    reads_facts: bool = False
    openvino: bool = False

    @property
    def heavy(self) -> bool:
        """More than 100 GFLOP an image: blocks of the store are smaller."""
        return self.gflop > 100

    @property
    def kept(self) -> tuple[str, ...]:
        """Patterns of what is kept of it unless a person says otherwise."""
        if self.features:
            return self.features
        moments = ("*:moments",) * (len(self.vectors) < len(self.taps))
        return (f"{self.output}:{VECTOR if self.output in self.vectors else MAP}", *moments)

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the taps that give one vector an image."""
        return tuple(tap.name for tap in self.taps if tap.stride == 0)

    def grid(self, tap: str, width: int, height: int) -> tuple[int, int]:
        """The valid grid (h, w) of a tap for pixels of this size; 1 x 1 of a vector."""
        return grid_at(next(t.stride for t in self.taps if t.name == tap), width, height)

    def grid_of(self, view: View) -> Callable[[str, int, int], tuple[int, int]]:
        """The valid grid of a tap for an image of a size that is seen through a view."""
        return lambda tap, width, height: self.grid(tap, *view.size(width, height))


class Encoder(Protocol):
    """A loaded encoder. Plugins give this, and pass the encoders' conformance tests.

    Attributes:
        spec: its declared facts (with the real taps, where these depend on the weights).
        identity: what of it changes numbers.
        stamps: UNTRAINED or UNVERIFIED, where its weights are.
        device: where it runs.
    """

    spec: EncoderSpec
    identity: EncoderIdentity
    stamps: tuple[str, ...]
    device: str

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """All asked taps in one pass.

        Args:
            pixels: (b, 3, H, W) uint8 RGB; what lies beyond `valid` (h, w) is padding and must not matter.
            taps: names of taps.

        An encoder that declares `reads_facts` takes a fourth argument, `facts`: one `Facts` an image.

        Returns:
            tap -> (b, C, h', w') float32, cropped to the valid grid; (b, C) of a tap that gives vectors.
        """
        ...


def ask(
    encoder: Encoder, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str], facts: Sequence[Facts]
) -> dict[str, torch.Tensor]:
    """As `Encoder.encode`; the facts go to those encoders that declare to read them, and to no other."""
    import torch

    torch.backends.cudnn.allow_tf32 = False  # by default cuDNN's convolutions round fp32 to ten bits
    encode: Any = encoder.encode
    return encode(pixels, valid, taps, facts) if encoder.spec.reads_facts else encode(pixels, valid, taps)


def made_up(encoder: Encoder, width: int, height: int, taps: Sequence[str], count: int = 1) -> dict[str, torch.Tensor]:
    """All asked taps of black images of this size: what a pass costs, without a file."""
    import torch

    pixels = torch.zeros(count, 3, height, width, dtype=torch.uint8)
    return ask(encoder, pixels, (height, width), taps, [Facts(1, width, height, 0, "")] * count)


def trained_on(encoder: Encoder) -> tuple[str, ...]:
    """The corpora behind the weights that are loaded: none for random ones, not all known for a person's own."""
    if "UNTRAINED" in encoder.stamps:
        return ()
    known = encoder.spec.trained_on
    return known if "UNVERIFIED" not in encoder.stamps or UNKNOWN in known else (*known, UNKNOWN)


@runtime_checkable
class Unpaddable(Protocol):
    """An encoder that pads, and can do without: another function of the same weights, for views that say so."""

    def unpadded(self) -> Encoder:
        """The same weights, identity and stamps; whatever it would see of padding, it does not."""
        ...


@runtime_checkable
class Counted(Protocol):
    """An encoder whose work is not in proportion to pixels."""

    def gflop(self, width: int, height: int) -> float:
        """10^9 operations (2 x multiply-accumulate) for one picture of this size."""
        ...


def seen_through(encoder: Encoder, view: View) -> Encoder:
    """The encoder as a view wants it: itself, or without padding.

    Raises:
        UsageError: the view is without padding, and this encoder has no such form.
    """
    if view.padded:
        return encoder
    if not isinstance(encoder, Unpaddable):
        padded = view.name.removesuffix("-unpadded")
        raise UsageError(
            f"{encoder.spec.name} has no form without padding; found --view {view.name}. Type --view {padded}."
        )
    return encoder.unpadded()


class Family(Protocol):
    """What the table of encoders names: facts now, the network when asked for."""

    @property
    def spec(self) -> EncoderSpec: ...

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The loaded encoder.

        Args:
            weights: a checkpoint; None where the weights are embedded.

        Raises:
            WeightsError: missing, damaged, or of another shape.
        """
        ...
