"""Segment Anything's image encoder (Kirillov et al. 2023): ViT-B, L, H from the official checkpoints, and a tiny
untrained one.

Owns what is declared of them, loading, and preprocessing, which is segment-anything's: normalise, then pad with zeros
at the bottom and the right to a square frame; maps are cropped to the valid grid. The frame is the longer side in whole
patches: 1024 in the view long1024, as published; in any other it is the picture's own. Where a view says "no padding",
only whole patches are filled up, which is another feature. The arithmetic is `sam_forward`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cache.encoders import openvino
from cache.encoders.base import OPENVINO, Encoder, EncoderSpec, Tap
from cache.errors import UsageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

    from cache.encoders.sam_forward import SamVit
    from cache.encoders.sam_openvino import SamGraph

CODE = "sam.3"  # 2: our own forward; 3: the frame is the picture's, not always 1024 (there the same bits as 2)
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
PATCH = 16
SEED = 0


class Shape(NamedTuple):
    """The architecture's numbers."""

    frame: int
    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int
    out: int


SHAPES = {
    "sam-vit-b": Shape(1024, 768, 12, 12, (2, 5, 8, 11), 14, 256),
    "sam-vit-l": Shape(1024, 1024, 24, 16, (5, 11, 17, 23), 14, 256),
    "sam-vit-h": Shape(1024, 1280, 32, 16, (7, 15, 23, 31), 14, 256),
    "sam-tiny": Shape(256, 96, 4, 3, (1, 3), 7, 64),
}


def _spec(name: str, title: str, gflop: float, **more: Any) -> EncoderSpec:
    shape = SHAPES[name]
    blocks = tuple(Tap(f"block.{i}", shape.dim, PATCH) for i in range(shape.depth))
    facts: dict[str, Any] = {
        "licence": "Apache-2.0",
        "training_data": "SA-1B (11 million licensed photographs)",
        "trained_on": ("SA-1B",),
        "batch": 1,
        "precisions": ("fp32", "bf16", "fp16"),
        "openvino": True,
        **more,
    }
    return EncoderSpec(
        name=name,
        title=title,
        family="sam",
        taps=(*blocks, Tap("neck", shape.out, PATCH)),
        output="neck",
        view=f"long{shape.frame}",
        normalisation=f"mean {MEAN}, std {STD} of 0..255, then zero padding to a square ({shape.frame}x{shape.frame})",
        source="Kirillov et al., Segment Anything, ICCV 2023; package segment-anything 1.0",
        gflop=gflop,
        **facts,
    )


def _official(name: str, title: str, gflop: float, file: str, sha256: str) -> EncoderSpec:
    """The hexadecimal digits in an official name are the file's MD5, not its sha256."""
    return _spec(
        name,
        title,
        gflop,
        weights_file=file,
        weights_sha256=sha256,
        weights_url=f"https://dl.fbaipublicfiles.com/segment_anything/{file}",
    )


class SamFamily:
    """Facts of one size, and its loader."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def load(self, weights: Path | None, device: str, precision: str = "fp32") -> Encoder:
        """The encoder with the given checkpoint (sam-tiny: with seeded weights).

        Args:
            device: torch's, or `openvino`: another order of sums, so part of the identity.
            precision: of its matrices, one of the spec's; part of the identity.

        Raises:
            UsageError: no such precision, or no OpenVINO.
            WeightsError: none given, damaged, or of another shape.
        """
        from cache import weights as files

        if precision not in self.spec.precisions:
            raise UsageError(
                f"{self.spec.name}: expected a precision of {', '.join(self.spec.precisions)}; found {precision!r}."
            )
        module, stamps = build(SHAPES[self.spec.name]), ("UNTRAINED",)
        if self.spec.untrained:
            seed(module, SEED)
            digest = files.digest_of(module.state_dict())
        elif weights is None:
            raise WeightsError(f"{self.spec.name}: expected a checkpoint, found none. Type --weights FILE.")
        else:
            digest, official = files.check_official(weights, self.spec)
            tensors = files.read_tensors(weights)
            prefix = "image_encoder."
            own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)} or tensors
            files.load_into(module, own, weights, _advice(own))
            stamps = () if official else ("UNVERIFIED",)
        if device == OPENVINO:
            identity = EncoderIdentity(self.spec.name, digest, f"{CODE} {openvino.CODE}", precision)
            return SamEncoder(self.spec, by_openvino(module, precision), identity, stamps, "cpu")
        identity = EncoderIdentity(self.spec.name, digest, CODE, precision)
        placed = on_device(module, precision, device, SHAPES[self.spec.name].frame)
        return SamEncoder(self.spec, placed, identity, stamps, device)


SAM_VIT_B = SamFamily(
    _official(
        "sam-vit-b",
        "Segment Anything ViT-B",
        972.1,
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    )
)
SAM_VIT_L = SamFamily(
    _official(
        "sam-vit-l",
        "Segment Anything ViT-L",
        2985.7,
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    )
)
SAM_VIT_H = SamFamily(
    _official(
        "sam-vit-h",
        "Segment Anything ViT-H",
        5961.1,
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    )
)
SAM_TINY = SamFamily(
    _spec(
        "sam-tiny",
        "SAM's encoder at small size, random weights",
        0.39,
        training_data="none: seeded random weights",
        trained_on=(),
        embedded=True,
        untrained=True,
        batch=8,
    )
)


def build(shape: Shape) -> SamVit:
    """The network of this shape; its initial weights mean nothing."""
    from cache.encoders.sam_forward import SamVit

    return SamVit(shape).eval().requires_grad_(False)


def on_device(module: SamVit, precision: str, device: str, frame: int) -> SamVit:
    """The network where it is to work; on a GPU compiled for square pictures of this side."""
    module = module.to_precision(precision).to(device)
    if not device.startswith("cuda"):
        return module
    from cache.encoders.sam_compiled import compiled

    return compiled(module, frame)


def gflop(shape: Shape, rows: int, columns: int) -> float:
    """10^9 operations (2 x multiply-accumulate) of the whole forward on a grid of tokens."""
    n, d = rows * columns, shape.dim
    each = 2 * n * (3 * PATCH**2 * d + 12 * d * d * shape.depth + d * shape.out + 9 * shape.out**2)
    windows = -(-rows // shape.window) * -(-columns // shape.window)
    inside = windows * shape.window**3 * d * (4 * shape.window + 4)  # scores and their use, and two position terms
    over_all = n * d * (4 * n + 2 * (rows + columns))
    deep = len(shape.global_blocks)
    return (each + (shape.depth - deep) * inside + deep * over_all) / 1e9


def seed(module: torch.nn.Module, number: int) -> None:
    """Fills a module with random weights that depend on the seed alone: same numbers on every platform and torch.

    Matrices are scaled to keep variance; position terms are not zero, so that they are exercised.
    """
    import hashlib

    import numpy as np
    import torch

    for name, parameter in module.named_parameters():
        stream = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{number}:{name}".encode()).digest()[:8], "big"))
        if name.endswith("bias"):
            values = np.zeros(parameter.shape)
        elif "norm" in name or (parameter.ndim == 1):
            values = np.ones(parameter.shape)
        else:
            position = "pos" in name
            spread = 0.02 if position else (2.0 / float(np.prod(parameter.shape[1:]))) ** 0.5
            values = stream.standard_normal(parameter.shape) * spread
        parameter.data.copy_(torch.from_numpy(values.astype(np.float32)))


def _advice(tensors: dict[str, torch.Tensor]) -> str:
    """Which size a checkpoint of another shape looks like."""
    table = tensors.get("pos_embed")
    for name, shape in SHAPES.items():
        if table is not None and table.ndim == 4 and table.shape[-1] == shape.dim:
            return f"It looks like {name}: type --encoder {name}."
    return "Is it a SAM checkpoint (names that begin with image_encoder.)?"


def by_openvino(module: SamVit, precision: str) -> SamGraph:
    """The same forward by OpenVINO.

    Raises:
        UsageError: OpenVINO is not installed, or has no such precision here.
    """
    openvino.checked(precision)
    from cache.encoders.sam_openvino import SamGraph

    return SamGraph(module, precision)


class SamEncoder:
    """A loaded SAM image encoder; see `cache.encoders.base.Encoder`.

    Args:
        padded: pictures are padded to squares; otherwise the module sees no token but theirs.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        module: SamVit | SamGraph,
        identity: EncoderIdentity,
        stamps: tuple[str, ...],
        device: str,
        padded: bool = True,
    ) -> None:
        self.spec, self.identity, self.stamps, self.device = spec, identity, stamps, device
        self._module, self._padded = module, padded

    def unpadded(self) -> SamEncoder:
        """The same weights without padding; see `cache.encoders.base.Unpaddable`."""
        return SamEncoder(self.spec, self._module, self.identity, self.stamps, self.device, padded=False)

    def gflop(self, width: int, height: int) -> float:
        """See `cache.encoders.base.Counted`; of all blocks and the neck. Padding costs what pixels do."""
        return gflop(SHAPES[self.spec.name], *self._frame(height, width))

    def _frame(self, h: int, w: int) -> tuple[int, int]:
        """Rows and columns of tokens that the network sees."""
        grid = -(-h // PATCH), -(-w // PATCH)
        return (max(grid), max(grid)) if self._padded else grid

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`."""
        import torch

        h, w = valid
        grid = -(-h // PATCH), -(-w // PATCH)
        rows, columns = self._frame(h, w)
        with torch.inference_mode():
            inside = pixels[:, :, :h, :w].to(self.device).float()
            mean = torch.tensor(MEAN, device=self.device).view(1, 3, 1, 1)
            std = torch.tensor(STD, device=self.device).view(1, 3, 1, 1)
            x = torch.nn.functional.pad((inside - mean) / std, (0, columns * PATCH - w, 0, rows * PATCH - h))
            maps = self._module(x, taps, grid)
            return {tap: maps[tap] for tap in taps}
