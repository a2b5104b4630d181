"""Any encoder exported to ONNX, run by onnxruntime (extra `onnx`). Its taps are the graph's outputs.

Beside `model.onnx` may lie `model.onnx.json`, which says what the graph cannot:

    {"name": "my-net", "view": "long512", "mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4],
     "output": "features", "frame": 512, "licence": "MIT", "training_data": "ImageNet-1k"}

Without it: view `native`, mean 0 and std 255 (pixels 0..1), no frame, the first output with four axes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cache.encoders.base import Encoder, EncoderSpec, Tap
from cache.errors import ImageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "onnx.1"

SPEC = EncoderSpec(
    name="onnx",
    title="Any encoder exported to ONNX",
    family="onnx",
    taps=(),
    output="",
    view="native",
    normalisation="as FILE.json says; default mean 0, std 255",
    licence="the file's own",
    source="--weights FILE.onnx",
    training_data="as FILE.json says",
    gflop=0.0,
    batch=1,
)


class Sidecar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `model.onnx.json` may say; see the head of this module."""

    name: str = "onnx"
    view: str = "native"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    output: str = ""
    frame: int = 0
    licence: str = "unknown"
    training_data: str = "unknown"


class OnnxFamily:
    """Facts, and the loader."""

    spec = SPEC

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder of a file.

        Raises:
            WeightsError: no file, no onnxruntime, not an ONNX graph from images to maps, or a sidecar that says something else.
        """
        from cache.weights import sha256_of

        if weights is None:
            raise WeightsError("onnx: expected a graph, found none. Type --weights FILE.onnx.")
        try:
            import onnxruntime
        except ImportError as error:
            raise WeightsError(
                "onnx needs onnxruntime, which is not installed. Type: pip install 'sam-iqa-harness[onnx]'"
            ) from error
        beside = weights.with_name(weights.name + ".json")
        try:
            said = msgspec.json.decode(beside.read_bytes(), type=Sidecar) if beside.is_file() else Sidecar()
            session = onnxruntime.InferenceSession(weights, providers=onnxruntime.get_available_providers())
        except msgspec.MsgspecError as error:
            raise WeightsError(
                f"{beside}: {error}. It may hold: {', '.join(Sidecar.__struct_fields__)}."
            ) from error
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise WeightsError(
                f"{weights}: expected an ONNX graph, found one that does not load ({str(error)[:200]})."
            ) from error
        return OnnxEncoder(session, said, weights, sha256_of(weights))


ONNX = OnnxFamily()


class OnnxEncoder:
    """A loaded graph; see `cache.encoders.base.Encoder`. Channels and strides are found by running it once."""

    def __init__(self, session: Any, said: Sidecar, path: Path, sha256: str) -> None:
        import numpy as np

        self._session, self._said, self.device = session, said, "cpu"
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise WeightsError(
                f"{path}: expected one input (batch, 3, height, width), found {[(i.name, i.shape) for i in inputs]}."
            )
        self._input = inputs[0].name
        fixed = inputs[0].shape[2] if isinstance(inputs[0].shape[2], int) else 0
        self._frame = said.frame or fixed
        side = self._frame or 224
        found = session.run(None, {self._input: np.zeros((1, 3, side, side), np.float32)})
        self._names = {
            _tap_name(o.name): o.name
            for o, v in zip(session.get_outputs(), found, strict=True)
            if np.ndim(v) == 4
        }
        if not self._names:
            raise WeightsError(
                f"{path}: expected an output (batch, channels, height, width), found {[o.name for o in session.get_outputs()]}."
            )
        shapes = {
            _tap_name(o.name): v.shape
            for o, v in zip(session.get_outputs(), found, strict=True)
            if np.ndim(v) == 4
        }
        taps = tuple(Tap(name, shape[1], max(1, round(side / shape[2]))) for name, shape in shapes.items())
        output = _tap_name(said.output) if said.output else taps[0].name
        if output not in self._names:
            raise WeightsError(
                f"{path}: its sidecar names the output {said.output!r}; the graph has {', '.join(self._names)}."
            )
        self.spec = msgspec.structs.replace(
            SPEC,
            title=f"{said.name} (ONNX)",
            taps=taps,
            output=output,
            view=said.view,
            licence=said.licence,
            training_data=said.training_data,
            normalisation=f"mean {said.mean}, std {said.std} of 0..255"
            + (f", zero padding to {self._frame}" if self._frame else ""),
        )
        preprocessing = f"{said.mean} {said.std} {self._frame}"
        self.identity = EncoderIdentity("onnx", sha256, f"{CODE} {preprocessing}", "fp32")
        self.stamps: tuple[str, ...] = ("UNVERIFIED",)

    def encode(
        self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`.

        Raises:
            ImageError: the pixels do not fit the graph's fixed input.
        """
        import torch

        h, w = valid
        if self._frame and max(h, w) > self._frame:
            raise ImageError("larger than the encoder's input", f"{w}x{h}, input {self._frame}x{self._frame}")
        x = pixels[:, :, :h, :w].float()
        x = (x - torch.tensor(self._said.mean).view(1, 3, 1, 1)) / torch.tensor(self._said.std).view(
            1, 3, 1, 1
        )
        if self._frame:
            x = torch.nn.functional.pad(x, (0, self._frame - w, 0, self._frame - h))
        found = self._session.run([self._names[tap] for tap in taps], {self._input: x.numpy()})
        maps: dict[str, torch.Tensor] = {}
        for tap, value in zip(taps, found, strict=True):
            gh, gw = self.spec.grid(tap, w, h)
            maps[tap] = torch.from_numpy(value)[:, :, :gh, :gw].float()
        return maps


def _tap_name(name: str) -> str:
    """A graph's name as a tap: lower case, `/` and other signs as dots."""
    return re.sub(r"[^a-z0-9._-]+", ".", name.lower()).strip(".")
