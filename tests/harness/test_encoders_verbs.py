"""`harness encoders`: names that stand for many networks, and taps that only a file can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.recipe import resolve_encoder
from harness.registry import encoders
from harness.verbs.encoders import info, ls


def test_every_name_has_a_line() -> None:
    assert [row.name for row in ls()] == encoders().names()


def test_a_dotted_name_is_any_network_of_timms() -> None:
    facts = info("timm.resnet18").facts
    assert facts["taps"]["layer4"] == "512 channels, stride 32"
    assert facts["licence"] == "Apache-2.0"
    assert facts["training data"].startswith("as the tag 'a1_in1k' says; https://")
    for name in ("resnet18", "other.resnet18", "sam-tiny.resnet18"):
        with pytest.raises(UsageError, match=f"Unknown encoder '{name}'"):
            encoders().get(name)


def test_random_and_cache_are_no_files() -> None:
    """The trap: a word instead of a path is looked for on the disk and not found."""
    assert resolve_encoder("timm.resnet18", Path("random"), None, "cpu")[0].stamps == ("UNTRAINED",)


def test_a_graphs_own_tensors_are_listed(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, ["n", 3, "h", "w"])
    nodes = [helper.make_node("Relu", ["image"], ["Inner/Map"]), helper.make_node("Neg", ["Inner/Map"], ["out"])]
    graph = helper.make_graph(nodes, "g", [image], [helper.make_tensor_value_info("out", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "g.onnx")
    assert list(info("onnx", tmp_path / "g.onnx").facts["taps"]) == ["out", "inner.map"]


def test_only_what_says_so_runs_by_openvino() -> None:
    with pytest.raises(UsageError, match="efficientnet-lite0 does not run by OpenVINO"):
        resolve_encoder("efficientnet-lite0", None, None, "openvino")
