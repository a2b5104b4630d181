"""Weights: the official name holds the official file or nothing, no file runs code, and what is wrong is said."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from cache.encoders.base import EncoderSpec
from cache.encoders.sam import SAM_VIT_B, SAM_VIT_H
from cache.errors import WeightsError
from cache.weights import check_official, digest_of, fetch, load_into, read_tensors, sha256_of

CONTENT = b"official weights, for a test"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def spec(url: str = "", name: str = "net_official.pth") -> EncoderSpec:
    return msgspec.structs.replace(
        SAM_VIT_B.spec, name="net", weights_file=name, weights_sha256=DIGEST, weights_url=url
    )


def test_the_official_name_must_hold_the_official_file(tmp_path: Path) -> None:
    file = tmp_path / "net_official.pth"
    file.write_bytes(CONTENT)
    assert check_official(file, spec()) == (DIGEST, True)
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"sha256 {DIGEST[:12]}.*harness encoders fetch net.*another name"):
        check_official(file, spec())


def test_another_name_is_a_persons_own_unless_it_is_the_official_file(tmp_path: Path) -> None:
    own, renamed = tmp_path / "mine.pth", tmp_path / "renamed.pth"
    own.write_bytes(b"fine-tuned")
    renamed.write_bytes(CONTENT)
    assert check_official(own, spec()) == (sha256_of(own), False)
    assert check_official(renamed, spec()) == (DIGEST, True)


def test_an_encoder_without_an_official_file_calls_nothing_official(tmp_path: Path) -> None:
    file = tmp_path / "any.pth"
    file.write_bytes(CONTENT)
    assert not check_official(file, msgspec.structs.replace(spec(), weights_sha256="", weights_file=""))[1]


@pytest.mark.parametrize("family", [SAM_VIT_B, SAM_VIT_H])
def test_a_file_that_is_not_there_is_a_message(tmp_path: Path, family: Any) -> None:
    for place in (tmp_path / "gone.pth", tmp_path):
        with pytest.raises(WeightsError, match=f"{place}: expected a weights file"):
            check_official(place, family.spec)
        with pytest.raises(WeightsError, match=str(place)):
            read_tensors(place)


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}


def assert_same(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[n], TENSORS[n]) for n in TENSORS)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"model": t, "epoch": 3}, lambda t: {"state_dict": t}])
def test_tensors_are_found_where_people_keep_them(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(TENSORS), tmp_path / "w.pth")
    assert_same(read_tensors(tmp_path / "w.pth"))


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "w.safetensors")
    assert_same(read_tensors(tmp_path / "w.safetensors"))


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: {"model": {"w": b}}, lambda b: {"w": torch.ones(1), "x": b}])
@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_that_runs_code_is_not_run(tmp_path: Path, wrap: Any, old: bool) -> None:
    torch.save(wrap(Bomb(tmp_path / "exploded")), tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(WeightsError, match=r"without running code|state_dict"):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"a letter", b"PK\x03\x04torn", b"\x80\x02}q\x00.", b"\xff" * 100, bytes(64)])
def test_what_is_no_checkpoint_is_a_message(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"w{suffix}"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"w\{suffix}: expected"):
        read_tensors(file)


@pytest.mark.parametrize("left", [0.2, 0.9, 0.999])
def test_a_torn_checkpoint_is_a_message(tmp_path: Path, left: float) -> None:
    big = {"w": torch.zeros(4000)}
    torch.save(big, tmp_path / "w.pth")
    save_file(big, tmp_path / "w.safetensors")
    for file in (tmp_path / "w.pth", tmp_path / "w.safetensors"):
        data = file.read_bytes()
        file.write_bytes(data[: int(left * len(data))])
        with pytest.raises(WeightsError, match="expected a checkpoint"):
            read_tensors(file)


@pytest.mark.parametrize(
    "found", [[torch.ones(1)], {"a": 1}, {1: torch.ones(1)}, torch.ones(2), {"model": {"a": None}}]
)
def test_other_things_than_names_with_tensors_are_refused(tmp_path: Path, found: object) -> None:
    torch.save(found, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="names with tensors"):
        read_tensors(tmp_path / "w.pth")


def test_tensors_of_another_shape_are_named_and_nothing_is_loaded() -> None:
    module = torch.nn.Linear(3, 2)
    before = {n: v.clone() for n, v in module.state_dict().items()}
    with pytest.raises(
        WeightsError,
        match=r"w\.pth: .*1 are missing and 1 have another shape.*bias is missing"
        r".*weight is \(9,\), not \(2, 3\).*Try this",
    ):
        load_into(module, {"weight": torch.zeros(9)}, Path("w.pth"), "Try this.")
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())


def test_tensors_are_loaded_in_the_modules_precision_and_extra_ones_left() -> None:
    module = torch.nn.Linear(3, 2)
    load_into(
        module, {"weight": torch.ones(2, 3).half(), "bias": torch.zeros(2).double(), "x": torch.ones(9)}, Path("w"), ""
    )
    assert module.weight.dtype == torch.float32
    assert bool((module.weight == 1).all())


def test_the_digest_covers_names_shapes_types_and_values() -> None:
    variants = [
        {"a": torch.zeros(2, 3)},
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3).int()},
        {"a": torch.full((2, 3), 1e-30)},
    ]
    assert len({digest_of(v) for v in variants}) == len(variants)
    two = {"a": torch.ones(1), "b": torch.zeros(1)}
    assert digest_of(two) == digest_of(dict(reversed(two.items())))


class Server:
    """A real web server on this machine: path -> (status, headers' length, body)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, int, bytes]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, length, body = outer.answers.get(self.path, (404, 0, b""))
                if status == 0:  # not HTTP at all
                    self.wfile.write(body)
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def test_the_right_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.answers["/net"] = (200, len(CONTENT), CONTENT)
    for _ in range(2):
        path = fetch(spec(f"{server.url}/net"), tmp_path / "weights")
        assert path == tmp_path / "weights" / "net_official.pth"
        assert path.read_bytes() == CONTENT
    assert server.asked == ["/net"]
    assert [p.name for p in path.parent.iterdir()] == ["net_official.pth"]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((200, 5, b"wrong"), f"http://.*with the sha256 {DIGEST[:12]}.*--weights FILE"),
        ((200, 0, b""), f"with the sha256 {DIGEST[:12]}"),
        ((200, len(CONTENT) + 99, CONTENT), "Could not fetch"),
        ((404, 0, b""), "Could not fetch .*404.*--weights FILE"),
        ((500, 0, b""), "Could not fetch .*500"),
        ((0, 0, b"no HTTP at all\r\n\r\n"), "Could not fetch"),
    ],
)
def test_anything_else_is_a_message_and_nothing_is_left(
    server: Server, tmp_path: Path, answer: tuple[int, int, bytes], match: str
) -> None:
    """A login page, a torn download, no such page, another protocol."""
    server.answers["/net"] = answer
    with pytest.raises(WeightsError, match=match):
        fetch(spec(f"{server.url}/net"), tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/net", "nonsense", "http://"])
def test_no_network_is_a_message(tmp_path: Path, url: str, server: Server) -> None:
    with pytest.raises(WeightsError, match=r"Could not fetch .*net_official.pth by other means"):
        fetch(spec(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_that_is_there_is_told_not_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net_official.pth").write_bytes(b"torn")
    server.answers["/net"] = (200, len(CONTENT), CONTENT)
    with pytest.raises(WeightsError, match=r"fetch it again|another name"):
        fetch(spec(f"{server.url}/net"), tmp_path)
    assert (tmp_path / "net_official.pth").read_bytes() == b"torn"
    assert server.asked == []


def test_what_has_no_official_file_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"net has no official weights to fetch. Type --weights FILE"):
        fetch(spec(""), tmp_path)
