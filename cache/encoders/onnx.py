"""Any encoder exported to ONNX, run by onnxruntime (extra `onnx`). Its taps are the graph's outputs and every tensor on
the way to them that is a map: float, (batch, channels, height, width), and square where the image is.

A tap is the tensor's name in lower case with dots for `/` and all else that a tap may not hold; where two become one,
the later in the graph ends in `.2`. What is kept by default is of the outputs alone.

Beside `model.onnx` may lie `model.onnx.json`, which says what the graph cannot:

    {"name": "my-net", "view": "long512", "mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4],
     "output": "features", "frame": 512, "licence": "MIT", "training_data": "ImageNet-1k",
     "trained_on": ["ImageNet-1k"]}

Without it: view `native`, mean 0 and std 255 (pixels 0..1), no frame, the first output with four axes.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cache.encoders import openvino
from cache.encoders.base import OPENVINO, UNKNOWN, Encoder, EncoderSpec, Tap
from cache.errors import ImageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "onnx.1"
Shape = tuple[int, ...]
STATED = 512  # the side whose cost is stated for a graph of any size
TERMS: dict[str, Callable[[Shape, Shape, Shape], int]] = {  # what is multiplied and added: of input, weight, output
    "Conv": lambda given, weight, made: math.prod(made) * math.prod(weight[1:]),
    "ConvTranspose": lambda given, weight, made: math.prod(given) * math.prod(weight[1:]),
    "MatMul": lambda given, weight, made: math.prod(made) * given[-1],
    "Gemm": lambda given, weight, made: math.prod(given) * made[-1],
}
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
    openvino=True,
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
        if weights is None:
            raise WeightsError("onnx: expected a graph, found none. Type --weights FILE.onnx.")
        try:
            import onnx  # noqa: F401  # used further on; here so that one message says what is missing
            import onnxruntime
        except ImportError as error:
            raise WeightsError(
                f"onnx needs {error.name}, which is not installed. Type: pip install 'sam-iqa-harness[onnx]'"
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
        kind = OpenVinoGraph if device == OPENVINO else Graph
        return OnnxEncoder(kind(weights, cuda), said, weights, device if cuda else "cpu")


ONNX = OnnxFamily()


class Graph:
    """A graph that gives any of its tensors. A runtime computes only what was named an output before it was loaded, so
    each set of tensors has its own session.

    Raises:
        WeightsError: not a graph.
    """

    code = CODE

    def __init__(self, path: Path, cuda: bool) -> None:
        import onnx

        self._path, self._cuda = path, cuda
        self._sessions: dict[tuple[str, ...], Any] = {}
        try:
            self._model = onnx.load(path, load_external_data=False)
        except Exception as error:  # protobuf's exceptions share no public base
            raise self._unreadable(error) from error
        self.outputs = tuple(o.name for o in self._model.graph.output)
        self.session(self.outputs)

    def _unreadable(self, error: Exception) -> WeightsError:
        return WeightsError(f"{self._path}: expected an ONNX graph, found one that does not load ({str(error)[:200]}).")

    def sha256(self) -> str:
        """Of the file and, where its weights lie in files beside it, of these too."""
        from onnx.external_data_helper import ExternalDataInfo, uses_external_data

        from cache.weights import sha256_of

        tensors = (t for t in self._model.graph.initializer if uses_external_data(t))
        beside = sorted({ExternalDataInfo(tensor).location for tensor in tensors})
        parts = [sha256_of(self._path), *(sha256_of(self._path.parent / name) for name in beside)]
        return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def session(self, names: tuple[str, ...]) -> Any:
        """A session that gives these tensors; kept.

        Raises:
            WeightsError: the runtime does not take the graph.
        """
        if names not in self._sessions:
            self._sessions[names] = self._open(names)
        return self._sessions[names]

    def _open(self, names: tuple[str, ...]) -> Any:
        import onnxruntime
        from onnx import helper

        model = type(self._model)()
        model.CopyFrom(self._model)
        model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in self.outputs)
        options = onnxruntime.SessionOptions()
        folder = str(self._path.parent.resolve())
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        providers = ["CUDAExecutionProvider"] * self._cuda + ["CPUExecutionProvider"]
        try:
            return onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise self._unreadable(error) from error

    def run(self, names: Sequence[str], image: Any) -> list[Any]:
        """These tensors of a graph of one input."""
        extra = sorted(set(names) - set(self.outputs))
        return self.session((*self.outputs, *extra)).run(list(names), image)

    def maps(self, side: int) -> dict[str, tuple[int, ...]]:
        """Inner tensors that are maps of an image of this side, in the order of the graph -> (1, C, h, w)."""
        shapes = self.shapes(side)
        return {n: shape for n, shape in shapes.items() if n not in self.outputs and _is_map(shape, side)}

    def gflop(self, side: int) -> float:
        """10^9 operations (2 x multiply-accumulate) for an image of this side, of its convolutions and products."""
        graph = self._model.graph
        shapes = {**{t.name: tuple(t.dims) for t in graph.initializer}, **self.shapes(side)}
        shapes[graph.input[0].name] = (1, 3, side, side)
        total = 0
        for node in graph.node:
            known = [shapes.get(name, ()) for name in (*node.input[:2], node.output[0])]
            if node.op_type in TERMS and all(known):
                given, weight, made = known
                total += 2 * TERMS[node.op_type](given, weight, made)
        return total / 1e9

    def shapes(self, side: int) -> dict[str, tuple[int, ...]]:
        """Every tensor of floats that a node gives, in the order of the graph -> its shape for an image of this side.

        They are inferred (a map of attention may be too large to be held with all others); what inference cannot
        tell, such as what follows padding that depends on the image, is found by running the graph.
        """
        import numpy as np
        import onnx

        model = type(self._model)()
        model.CopyFrom(self._model)
        del model.graph.value_info[:]  # of the size at which it was exported
        for axis, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side), strict=True):
            axis.dim_value = size
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        types = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.output)}
        floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        names = [name for node in self._model.graph.node for name in node.output if name]
        names = [name for name in names if name not in types or types[name].elem_type in floats]
        shapes: dict[str, tuple[int, ...]] = {}
        for name in names:
            axes = types[name].shape.dim if name in types and types[name].HasField("shape") else None
            if axes is not None and all(axis.HasField("dim_value") for axis in axes):
                shapes[name] = tuple(axis.dim_value for axis in axes)
        unknown = [name for name in names if name not in shapes]
        if unknown:
            image = {self._model.graph.input[0].name: np.zeros((1, 3, side, side), np.float32)}
            found = self._open((*self.outputs, *unknown)).run(unknown, image)
            shapes |= {n: v.shape for n, v in zip(unknown, found, strict=True) if np.asarray(v).dtype.kind == "f"}
        return {name: shapes[name] for name in names if name in shapes}


class OpenVinoGraph(Graph):
    """The same graph, looked over by onnxruntime and run by OpenVINO in float32."""

    code = f"{CODE} {openvino.CODE}"

    def __init__(self, path: Path, cuda: bool) -> None:
        openvino.core()  # says what to install, before the graph is read
        super().__init__(path, cuda)
        self._compiled: dict[tuple[str, ...], Any] = {}

    def run(self, names: Sequence[str], image: Any) -> list[Any]:
        """As `Graph.run`."""
        wanted = tuple(sorted(names))
        if wanted not in self._compiled:
            model = openvino.core().read_model(self._path)
            model.add_outputs([name for name in wanted if name not in self.outputs])
            self._compiled[wanted] = openvino.compiled(model, "fp32")
        ready = self._compiled[wanted]
        found = ready(image)
        return [found[ready.output(name)] for name in names]


def _is_map(shape: tuple[int, ...], side: int) -> bool:
    """Of one square image: one row of channels on a square grid no finer than its pixels."""
    return len(shape) == 4 and shape[0] == 1 and shape[1] > 0 and 0 < shape[2] == shape[3] <= side


class OnnxEncoder:
    """A loaded graph; see `cache.encoders.base.Encoder`. Channels and strides are found by running it once."""

    def __init__(self, graph: Graph, said: Sidecar, path: Path, device: str = "cpu") -> None:
        import numpy as np

        self._graph, self._said, self.device = graph, said, device
        session = graph.session(graph.outputs)
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
        own = list(self._names)
        if not maps:
            raise WeightsError(f"{path}: expected an output (batch, channels, height, width), found {names}.")
        if len(self._names) < len(maps) or "" in self._names:
            raise WeightsError(
                f"{path}: expected outputs whose names differ as taps (a-z, 0-9, dots); found {names}. Rename "
                "them and export again."
            )
        for name, shape in graph.maps(side).items():
            tap, n = _tap_name(name), 1
            while tap in self._names:
                n += 1
                tap = f"{_tap_name(name)}.{n}"
            if tap:
                self._names[tap] = name
                maps.append((tap, name, shape))
        taps = tuple(Tap(tap, s[1], max(1, round(side / s[2]))) for tap, _, s in maps)
        output = _tap_name(said.output) if said.output else taps[0].name
        if output not in self._names:
            raise WeightsError(
                f"{path}: its sidecar names the output {said.output!r}; the graph has {', '.join(own)}, and inner "
                "tensors (harness encoders info onnx --weights FILE)."
            )
        self.spec = msgspec.structs.replace(
            SPEC,
            title=f"{said.name} (ONNX)",
            taps=taps,
            output=output,
            gflop=graph.gflop(self._frame or STATED),
            features=(f"{output}:map", *(f"{tap}:moments" for tap in dict.fromkeys([output, *own]))),
            view=said.view,
            licence=said.licence,
            training_data=said.training_data,
            trained_on=said.trained_on,
            normalisation=f"mean {said.mean}, std {said.std} of 0..255"
            + (f", zero padding to {self._frame}" if self._frame else ""),
        )
        preprocessing = f"{said.mean} {said.std} {self._frame}"
        self.identity = EncoderIdentity("onnx", graph.sha256(), f"{graph.code} {preprocessing}", "fp32")
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
        parts = [self._graph.run(wanted, {self._input: part.numpy()}) for part in x.split(self._batch or len(x))]
        maps: dict[str, torch.Tensor] = {}
        for i, tap in enumerate(taps):
            gh, gw = self.spec.grid(tap, w, h)
            maps[tap] = torch.cat([torch.from_numpy(part[i]) for part in parts])[:, :, :gh, :gw].float()
        return maps


def _tap_name(name: str) -> str:
    """A graph's name as a tap: lower case, `/` and other signs as dots."""
    return re.sub(r"[^a-z0-9._-]+", ".", name.lower()).strip(".")
