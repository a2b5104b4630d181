"""Exported graphs: the same numbers as the network they came from, and a message for every graph that cannot serve."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from skimage import data as photographs
from torch.utils.flop_counter import FlopCounterMode

from cache.conformance import check_encoder
from cache.encode import Item, encode_items
from cache.encoders import efficientnet
from cache.encoders.onnx import ONNX
from cache.errors import ImageError, WeightsError
from cache.features import expand
from cache.views import parse_view


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(6, 5, 3, stride=4, padding=1)
    ).eval()


def graph(
    path: Path,
    batch: Any = "n",
    side: Any = ("h", "w"),
    channels: Any = 3,
    outputs: tuple[str, str] = ("Early/Maps", "late"),
    inputs: int = 1,
    kind: int = TensorProto.FLOAT,
    pooled: bool = False,
) -> Path:
    """The network above as a graph, built node by node from its weights."""
    first, _, second = network()
    weights = [
        numpy_helper.from_array(value.detach().numpy(), name)
        for name, value in (("w1", first.weight), ("b1", first.bias), ("w2", second.weight), ("b2", second.bias))
    ]
    early, late = outputs
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], [early]),
        helper.make_node("Conv", [early, "w2", "b2"], ["c2" if pooled else late], strides=[4, 4], pads=[1] * 4),
    ]
    if pooled:
        nodes = [*nodes, helper.make_node("ReduceMean", ["c2"], [late], axes=[2, 3], keepdims=0)]
    shape = [batch, channels, *side]
    made = [helper.make_tensor_value_info(n, kind, shape) for n in ("x", "y")[:inputs]]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ((late,) if pooled else (early, late))]
    model = helper.make_model(
        helper.make_graph(nodes, "net", made, outs, weights), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(model, path)
    return path


def sidecar(path: Path, **said: object) -> Path:
    path.with_name(path.name + ".json").write_text(json.dumps(said))
    return path


def photo(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(photographs.chelsea()[:height, :width].copy()).permute(2, 0, 1)[None]


def expected(pixels: torch.Tensor, mean: Any = 0.0, std: Any = 255.0) -> tuple[torch.Tensor, torch.Tensor]:
    net: Any = network()
    shape = (1, 3, 1, 1)
    x = (pixels.float() - torch.as_tensor(mean).expand(3).view(shape)) / torch.as_tensor(std).expand(3).view(shape)
    with torch.inference_mode():
        early = net[1](net[0](x))
        return early, net[2](early)


@pytest.mark.parametrize("size", [(96, 128), (33, 65), (1, 1)])
def test_a_graph_gives_the_networks_own_numbers(tmp_path: Path, size: tuple[int, int]) -> None:
    encoder = ONNX.load(graph(tmp_path / "net.onnx"), "cpu")
    assert [tuple(t) for t in encoder.spec.taps] == [("early.maps", 6, 2), ("late", 5, 8), ("c1", 6, 2)]
    assert (encoder.spec.output, encoder.spec.view, encoder.stamps) == ("early.maps", "native", ("UNVERIFIED",))
    pixels = photo(*size)
    found = encoder.encode(pixels, size, ["early.maps", "late"])
    for value, tap in zip(expected(pixels), ("early.maps", "late"), strict=True):
        torch.testing.assert_close(found[tap], value, rtol=1e-5, atol=1e-5)
    assert list(encoder.encode(pixels, size, ["late"])) == ["late"]


def test_its_cost_is_that_of_the_network(tmp_path: Path) -> None:
    """Counted by torch: at 512 for a graph of any size, else of its own input."""
    for side, size in ((("h", "w"), 512), ((64, 64), 64)):
        spec = ONNX.load(graph(tmp_path / "net.onnx", side=side), "cpu").spec
        with FlopCounterMode(display=False) as counter:
            network()(torch.zeros(1, 3, size, size))
        assert spec.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-6)


def test_products_of_matrices_are_counted(tmp_path: Path) -> None:
    """(3, 8, 8) by (8, 5), then its 120 numbers by (120, 7); each a multiply and an add."""
    weights = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in (("a", (8, 5)), ("b", (120, 7)))]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["product"]),
        helper.make_node("Flatten", ["product"], ["flat"]),
        helper.make_node("Gemm", ["flat", "b"], ["seven"]),
        helper.make_node("Relu", ["x"], ["map"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("map", "seven")]
    made = helper.make_graph(nodes, "products", [given], outs, weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "p.onnx")
    assert ONNX.load(tmp_path / "p.onnx", "cpu").spec.gflop == 2 * (3 * 8 * 5 * 8 + 120 * 7) / 1e9


def test_it_does_what_every_encoder_must(tmp_path: Path) -> None:
    check_encoder(ONNX, graph(tmp_path / "net.onnx"))


def test_the_sidecar_says_what_a_graph_cannot(tmp_path: Path) -> None:
    said = {
        "name": "my-net",
        "view": "long512",
        "mean": [1, 2, 3],
        "std": [4, 5, 6],
        "output": "late",
        "licence": "MIT",
    }
    plain = ONNX.load(graph(tmp_path / "net.onnx"), "cpu")
    encoder = ONNX.load(sidecar(tmp_path / "net.onnx", **said), "cpu")
    spec = encoder.spec
    assert (spec.title, spec.view, spec.output, spec.licence) == ("my-net (ONNX)", "long512", "late", "MIT")
    pixels = photo(40, 48)
    found = encoder.encode(pixels, (40, 48), ["late"])["late"]
    torch.testing.assert_close(found, expected(pixels, [1.0, 2, 3], [4.0, 5, 6])[1], rtol=1e-4, atol=1e-4)
    assert encoder.identity != plain.identity  # other numbers: another store
    again = ONNX.load(sidecar(tmp_path / "net.onnx", **(said | {"licence": "other", "name": "x"})), "cpu")
    assert again.identity == encoder.identity  # the same numbers


def test_a_fixed_square_input_is_padded_and_cropped(tmp_path: Path) -> None:
    """Zeros beyond the image after normalisation, as SAM does; only the valid part is given out."""
    encoder = ONNX.load(graph(tmp_path / "net.onnx", batch=1, side=(64, 64)), "cpu")
    pixels = photo(40, 56)
    found = encoder.encode(pixels, (40, 56), ["early.maps", "late"])
    frame = torch.zeros(1, 3, 64, 64)
    frame[:, :, :40, :56] = pixels
    for value, tap, (h, w) in zip(expected(frame), ("early.maps", "late"), ((20, 28), (5, 7)), strict=True):
        torch.testing.assert_close(found[tap], value[:, :, :h, :w], rtol=1e-5, atol=1e-5)
    with pytest.raises(ImageError, match="larger than the encoder's input: 65x40, input 64x64"):
        encoder.encode(photo(40, 65), (40, 65), ["late"])


def test_a_graph_of_one_image_takes_several(tmp_path: Path) -> None:
    """The trap: many exports fix the batch at 1, and --batch-size 8 is a person's to type."""
    one = ONNX.load(graph(tmp_path / "one.onnx", batch=1), "cpu")
    any_ = ONNX.load(graph(tmp_path / "any.onnx"), "cpu")
    pixels = torch.cat([photo(24, 24), photo(24, 24).flip(3), photo(24, 24).flip(2)])
    torch.testing.assert_close(
        one.encode(pixels, (24, 24), ["late"])["late"], any_.encode(pixels, (24, 24), ["late"])["late"]
    )


def test_an_image_that_a_graph_cannot_take_is_a_failed_row(tmp_path: Path, fakes: Any) -> None:
    """A 7x7 window without padding sees nothing in 3 pixels; the others are encoded."""
    net = torch.nn.Conv2d(3, 2, 7)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"])
    weights = [numpy_helper.from_array(v.detach().numpy(), n) for n, v in (("w", net.weight), ("b", net.bias))]
    made = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_graph([node], "net", [made], [out], weights)
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    encoder = ONNX.load(tmp_path / "n.onnx", "cpu")
    names = fakes.write_images(tmp_path, [(20, 20), (3, 3), (21, 9)])
    items = [Item(n, tmp_path / n) for n in names]
    rows = list(encode_items(items, encoder, parse_view("native"), expand(["*:map"], ["y"])))
    assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert rows[1].reason.startswith("encoder failed: ")


class Features(torch.nn.Module):
    """EfficientNet-lite0 without its classifier, to be exported; its padding depends on the image's size."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = efficientnet.build(efficientnet.packaged())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net.forward_features(x)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "lite0.onnx"
    axes = {"image": {0: "n", 2: "h", 3: "w"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is torch's older one, which needs no further package
        torch.onnx.export(
            Features(), (torch.zeros(1, 3, 64, 96),), str(path), input_names=["image"], dynamo=False, dynamic_axes=axes
        )
    return sidecar(path, mean=[127.0] * 3, std=[128.0] * 3)


def test_any_tensor_of_an_exported_network_is_a_tap(exported: Path) -> None:
    """The stages of the encoder that was exported, found inside its graph by name, at a size of another shape."""
    encoder = ONNX.load(exported, "cpu")
    taps = {tap.name: tap for tap in encoder.spec.taps}
    pixels = photo(70, 90)
    whole = efficientnet.EFFICIENTNET_LITE0.load(None, "cpu")
    for i, stage in enumerate(whole.spec.taps[:-1], 1):
        last = max((n for n in taps if n.startswith(f"blocks.blocks.{i - 1}.")), key=list(taps).index)
        assert taps[last] == (last, stage.channels, stage.stride)
        found = encoder.encode(pixels, (70, 90), [last])[last]
        expected = whole.encode(pixels, (70, 90), [stage.name])[stage.name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_openvino_gives_the_same_maps_and_is_another_store(exported: Path) -> None:
    pytest.importorskip("openvino")
    one, other = ONNX.load(exported, "cpu"), ONNX.load(exported, "openvino")
    taps = [tap.name for tap in one.spec.taps]
    assert [tap.name for tap in other.spec.taps] == taps
    asked = [taps[0], taps[len(taps) // 2], taps[-1]]
    pixels = torch.cat([photo(70, 90), photo(70, 90).flip(3)])
    expected, found = (encoder.encode(pixels, (70, 90), asked) for encoder in (one, other))
    for tap in asked:
        torch.testing.assert_close(found[tap], expected[tap], rtol=0, atol=1e-5 * float(expected[tap].abs().max()))
    assert one.identity.code != other.identity.code


def test_what_is_kept_by_default_is_of_the_outputs(exported: Path) -> None:
    """The trap: `*:moments` of every tensor of a graph is hundreds of arrays that nobody asked for."""
    spec = ONNX.load(exported, "cpu").spec
    assert len(spec.taps) > 50
    assert spec.kept == (f"{spec.output}:map", f"{spec.output}:moments")


def test_weights_beside_the_graph_are_part_of_what_it_is(tmp_path: Path) -> None:
    """The trap: a graph that keeps its weights in another file is the same bytes whatever the weights are."""
    seen = []
    for bias in (0.0, 1.0):
        model = onnx.load(graph(tmp_path / "whole.onnx"))
        tensor = model.graph.initializer[1]
        tensor.CopyFrom(numpy_helper.from_array(np.full(6, bias, np.float32), tensor.name))
        onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
        encoder = ONNX.load(tmp_path / "net.onnx", "cpu")
        seen.append((encoder.identity.weights, encoder.encode(photo(9, 9), (9, 9), ["late"])["late"].sum()))
        (tmp_path / "net.data").unlink()
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_names_that_become_one_are_told_apart(tmp_path: Path) -> None:
    model = onnx.load(graph(tmp_path / "net.onnx", outputs=("early", "late")))
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "Late"
    onnx.save(model, tmp_path / "net.onnx")
    encoder = ONNX.load(tmp_path / "net.onnx", "cpu")
    assert [tap.name for tap in encoder.spec.taps] == ["early", "late", "late.2"]
    found = encoder.encode(photo(16, 16), (16, 16), ["late.2"])["late.2"]
    torch.testing.assert_close(found.relu(), encoder.encode(photo(16, 16), (16, 16), ["early"])["early"])


def not_a_graph(path: Path) -> Path:
    path.write_bytes(b"no graph")
    return path


WRONG: dict[str, tuple[Any, str]] = {
    "not a graph": (not_a_graph, "does not load"),
    "not there": (lambda p: p, "does not load"),
    "two inputs": (lambda p: graph(p, inputs=2), "expected one input"),
    "four channels": (lambda p: graph(p, channels=4), "expected one input"),
    "channels last": (
        lambda p: graph(p, channels="h", side=("w", 3)),
        r"expected one input \(batch, 3, height, width\)",
    ),
    "not square": (lambda p: graph(p, side=(64, 32)), "any size, or square"),
    "batches of two": (lambda p: graph(p, batch=2), "one image or any number"),
    "half floats": (lambda p: graph(p, kind=TensorProto.FLOAT16), "does not load|float32 image"),
    "one row an image": (lambda p: graph(p, pooled=True), r"expected an output \(batch, channels, height, width\)"),
    "names that are one as taps": (lambda p: graph(p, outputs=("A/b", "a.b")), "whose names differ as taps"),
    "another frame than its own": (lambda p: sidecar(graph(p, side=(64, 64)), frame=128), r"square \(128\)"),
    "no such output": (lambda p: sidecar(graph(p), output="deep"), "'deep'; the graph has early.maps, late"),
    "std of zero": (lambda p: sidecar(graph(p), std=[1, 0, 1]), "std other than 0"),
    "unknown word": (lambda p: sidecar(graph(p), meen=[1, 0, 1]), "meen.*It may hold: name, view, mean"),
    "wrong type": (lambda p: sidecar(graph(p), mean="grey"), "mean.*It may hold"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_graph_that_cannot_serve_is_a_message(what: str, tmp_path: Path) -> None:
    make, match = WRONG[what]
    with pytest.raises(WeightsError, match=match) as caught:
        ONNX.load(make(tmp_path / "net.onnx"), "cpu")
    assert "net.onnx" in str(caught.value)


def test_no_file_says_what_to_type() -> None:
    with pytest.raises(WeightsError, match=r"Type --weights FILE.onnx"):
        ONNX.load(None, "cpu")


def test_values_are_what_numpy_holds(tmp_path: Path) -> None:
    """float32 whatever the pixels' memory order, also of a view into a larger batch."""
    encoder = ONNX.load(graph(tmp_path / "net.onnx"), "cpu")
    big = torch.from_numpy(np.ascontiguousarray(photographs.chelsea()))[None].permute(0, 3, 1, 2)
    found = encoder.encode(big, (30, 40), ["late"])["late"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected(photo(30, 40))[1], rtol=1e-5, atol=1e-5)
