"""Any encoder exported to ONNX, run by onnxruntime (extra `onnx`). Its taps are the graph's outputs.

Beside `model.onnx` may lie `model.onnx.json`, which says what the graph cannot:

    {"name": "my-net", "view": "long512", "mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4],
     "output": "features", "frame": 512, "licence": "MIT", "training_data": "ImageNet-1k",
     "trained_on": ["ImageNet-1k"]}

Without it: view `native`, mean 0 and std 255 (pixels 0..1), no frame, the first output with four axes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cache.encoders.base import UNKNOWN, Encoder, EncoderSpec, Tap
from cache.errors import ImageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "onnx.1"
PROBE = 224  # a side at which channels and strides of a graph of any size are found

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
    trained_on: tuple[str, ...] = (UNKNOWN,)


class OnnxFamily:
    """Facts, and the loader."""

    spec = SPEC

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder of a file.

        Raises:
            WeightsError: no file, no onnxruntime, not an ONNX graph from images to maps, or a sidecar that says
                something else.
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
        except (OSError, msgspec.MsgspecError) as error:
            raise WeightsError(f"{beside}: {error}. It may hold: {', '.join(Sidecar.__struct_fields__)}.") from error
        if 0.0 in said.std or said.frame < 0:
            raise WeightsError(
                f"{beside}: expected std other than 0 and a frame of 0 or more, found {said.std}, {said.frame}."
            )
        cuda = device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        providers = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
        try:
            session = onnxruntime.InferenceSession(str(weights), providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise WeightsError(
                f"{weights}: expected an ONNX graph, found one that does not load ({str(error)[:200]})."
            ) from error
        return OnnxEncoder(session, said, weights, sha256_of(weights), device if cuda else "cpu")


ONNX = OnnxFamily()


class OnnxEncoder:
    """A loaded graph; see `cache.encoders.base.Encoder`. Channels and strides are found by running it once."""

    def __init__(self, session: Any, said: Sidecar, path: Path, sha256: str, device: str = "cpu") -> None:
        import numpy as np

        self._session, self._said, self.device = session, said, device
        inputs = session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or (shape[1] != 3 and (isinstance(shape[1], int) or shape[3] == 3)):
            raise WeightsError(
                f"{path}: expected one input (batch, 3, height, width), found {[(i.name, i.shape) for i in inputs]}."
            )
        self._input = inputs[0].name
        self._batch = shape[0] if isinstance(shape[0], int) else 0
        fixed = {side for side in shape[2:] if isinstance(side, int)}
        if len(fixed) > 1 or (fixed and said.frame not in (0, *fixed)) or self._batch > 1:
            raise WeightsError(
                f"{path}: expected an input of any size, or square ({said.frame or 'any'}), one image or any "
                "number at a time; "
                f"found {shape}."
            )
        self._frame = said.frame or next(iter(fixed), 0)
        side = self._frame or PROBE
        try:
            found = session.run(None, {self._input: np.zeros((1, 3, side, side), np.float32)})
        except Exception as error:  # as in load
            raise WeightsError(
                f"{path}: expected a graph that takes one float32 image of 3x{side}x{side}; it says {str(error)[:200]}"
            ) from error
        names = [o.name for o in session.get_outputs()]
        maps = [(_tap_name(name), name, v.shape) for name, v in zip(names, found, strict=True) if np.ndim(v) == 4]
        self._names = {tap: name for tap, name, _ in maps}
        if not maps:
            raise WeightsError(f"{path}: expected an output (batch, channels, height, width), found {names}.")
        if len(self._names) < len(maps) or "" in self._names:
            raise WeightsError(
                f"{path}: expected outputs whose names differ as taps (a-z, 0-9, dots); found {names}. Rename "
                "them and export again."
            )
        taps = tuple(Tap(tap, s[1], max(1, round(side / s[2]))) for tap, _, s in maps)
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
            trained_on=said.trained_on,
            normalisation=f"mean {said.mean}, std {said.std} of 0..255"
            + (f", zero padding to {self._frame}" if self._frame else ""),
        )
        preprocessing = f"{said.mean} {said.std} {self._frame}"
        self.identity = EncoderIdentity("onnx", sha256, f"{CODE} {preprocessing}", "fp32")
        self.stamps: tuple[str, ...] = ("UNVERIFIED",)

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`.

        Raises:
            ImageError: the pixels do not fit the graph's fixed input.
        """
        import torch

        h, w = valid
        if self._frame and max(h, w) > self._frame:
            raise ImageError("larger than the encoder's input", f"{w}x{h}, input {self._frame}x{self._frame}")
        x = pixels[:, :, :h, :w].float()
        x = (x - torch.tensor(self._said.mean).view(1, 3, 1, 1)) / torch.tensor(self._said.std).view(1, 3, 1, 1)
        if self._frame:
            x = torch.nn.functional.pad(x, (0, self._frame - w, 0, self._frame - h))
        wanted = [self._names[tap] for tap in taps]
        parts = [self._session.run(wanted, {self._input: part.numpy()}) for part in x.split(self._batch or len(x))]
        maps: dict[str, torch.Tensor] = {}
        for i, tap in enumerate(taps):
            gh, gw = self.spec.grid(tap, w, h)
            maps[tap] = torch.cat([torch.from_numpy(part[i]) for part in parts])[:, :, :gh, :gw].float()
        return maps


def _tap_name(name: str) -> str:
    """A graph's name as a tap: lower case, `/` and other signs as dots."""
    return re.sub(r"[^a-z0-9._-]+", ".", name.lower()).strip(".")
