"""SAM's blocks as a GPU runs them, here on a CPU: the same numbers as the forward that is held to segment-anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cache.encoders import sam, sam_compiled
from cache.encoders.sam import SHAPES
from cache.encoders.sam_forward import Block, SamVit

pytestmark = pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="torch 2.6 has FlexAttention for few sizes of heads: blocks run plain"
)
UNFUSED = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def network(name: str, precision: str = "fp32", side: int = 16) -> SamVit:
    """A size's real width, heads and windows, two blocks (inside windows, over all), random position terms."""
    shape = SHAPES[name]._replace(frame=16 * side, depth=2, global_blocks=(1,))
    module = sam.build(shape)
    sam.seed(module, 0)
    for part, value in module.named_parameters():
        if "rel_pos" in part:
            value.data.mul_(10)  # a bias that is missing or transposed must show
        if "bias" in part:
            value.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return module.to_precision(precision)


def tokens(module: SamVit, height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(
        count, height, width, module.blocks[0].attn.proj.in_features, generator=torch.Generator().manual_seed(0)
    )


def difference(module: SamVit, run: Callable[[Block, torch.Tensor], torch.Tensor], x: torch.Tensor) -> list[float]:
    """Of what each block adds: rms of the difference, relative."""
    found: list[float] = []
    for block in module.blocks:
        mine, own = run(block, x.clone()) - x, block(x.clone()) - x
        found.append(float((mine - own).norm() / own.norm()))
    return found


@UNFUSED
@pytest.mark.parametrize("name", SHAPES)
def test_a_blocks_compilable_form_is_the_block(name: str) -> None:
    """Real widths of the three sizes (ViT-H's heads have 80 channels); more and fewer tokens than a window has."""
    for side in (16, 9):
        module = network(name, side=side)
        with torch.inference_mode():
            assert max(difference(module, sam_compiled.through, tokens(module, side, side))) <= 1e-5


@UNFUSED
@pytest.mark.parametrize(("precision", "most"), [("bf16", 1.5e-2), ("fp16", 2e-3)])
def test_in_half_precision_it_is_as_near_as_the_block_is(precision: str, most: float) -> None:
    module = network("sam-tiny", precision)
    with torch.inference_mode():
        assert max(difference(module, sam_compiled.through, tokens(module, 16, 16))) <= most


def test_compiled_it_gives_every_tap_that_the_plain_network_gives(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Really compiled, by torch's compiler for this processor: two pictures; and others of a frame that is not."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)  # of each step; takes most of the time
    plain, fast = network("sam-tiny"), sam_compiled.compiled(network("sam-tiny"), 256)
    taps = ["block.0", "block.1", "neck"]
    with torch.inference_mode():
        for shape in ((2, 3, 256, 256), (2, 3, 160, 160)):
            pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            expected, found = plain(pixels, taps), fast(pixels, taps)
            for tap in taps:
                error = float((found[tap] - expected[tap]).abs().max() / expected[tap].abs().max())
                assert error <= 1e-5, (tap, shape)
    through: Any = fast.through
    assert through._proved == {0, SHAPES["sam-tiny"].window}
    assert said(caplog) == []


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == sam_compiled.log.name]


def broken(block: Block, x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no working compiler\nwas found\nand much more")


def wrong(block: Block, x: torch.Tensor) -> torch.Tensor:
    found = block(x.clone())
    found[:, 0] += 0.1  # a row of tokens
    return found


def nothing(block: Block, x: torch.Tensor) -> torch.Tensor:
    return torch.full_like(x, float("nan"))


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (broken, "RuntimeError: no working compiler was found"),
        (wrong, "differs by"),
        (nothing, "differs by nan"),
    ],
)
def test_what_cannot_be_compiled_or_computes_something_else_is_said_once_and_not_used(
    run: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The trap: a compiler's bug on a device that nobody here has would fill a store with wrong numbers, in silence."""
    plain, fast = network("sam-tiny"), network("sam-tiny")
    fast.through = sam_compiled.Through(16, run)
    pixels = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for _ in range(2):
            expected, found = plain(pixels, ["block.1", "neck"]), fast(pixels, ["block.1", "neck"])
            assert all(torch.equal(found[tap], expected[tap]) for tap in expected)
    (warning,) = said(caplog)
    assert why in warning
    assert "and much more" not in warning


@UNFUSED
def test_what_compiled_once_and_fails_for_another_batch_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """The trap: the last batch of a block is smaller, so it is compiled anew; failing then, every row of it failed."""

    def of_two(block: Block, x: torch.Tensor) -> torch.Tensor:
        if len(x) != 2:
            raise RuntimeError("recompile limit reached")
        return sam_compiled.through(block, x)

    plain, fast = network("sam-tiny"), network("sam-tiny")
    fast.through = sam_compiled.Through(16, of_two)
    pixels = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fast(pixels, ["neck"])
        assert said(caplog) == []
        for _ in range(2):
            assert torch.equal(fast(pixels[:1], ["neck"])["neck"], plain(pixels[:1], ["neck"])["neck"])
    (warning,) = said(caplog)
    assert "recompile limit reached" in warning


def test_out_of_memory_is_no_reason_to_give_up() -> None:
    """The batch is halved, and what fits is compiled all the same."""

    def full(block: Block, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    module = network("sam-tiny")
    through = sam_compiled.Through(16, full)
    with torch.inference_mode(), pytest.raises(torch.OutOfMemoryError):
        through(module.blocks[0], tokens(module, 16, 16))
    assert not through._given_up
