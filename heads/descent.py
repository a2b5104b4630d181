"""AdamW (Loshchilov & Hutter, ICLR 2019), step for step that of torch. Never schedules: the rate is handed
in.

torch's own class loads torch's compiler when it is first made, which takes longer (about four seconds) than
the whole training of a small head.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class AdamW:
    """Decoupled weight decay on matrices; none on biases and norms.

    Args:
        parameters: what is learned.
        weight_decay: per step and unit of the learning rate, >= 0.
        longest: gradients whose common length is larger are shortened to it.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], weight_decay: float, longest: float) -> None:
        self._learned = [p for p in parameters if p.requires_grad]
        self._decay = [weight_decay if p.ndim > 1 else 0.0 for p in self._learned]
        self._first = [torch.zeros_like(p) for p in self._learned]
        self._second = [torch.zeros_like(p) for p in self._learned]
        self._longest = longest
        self._steps = 0

    @torch.no_grad()
    def step(self, loss: Tensor, rate: float) -> None:
        """Differentiates a scalar loss and moves the parameters at a learning rate."""
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss, self._learned, allow_unused=True)
        found = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, self._learned, strict=True)]
        length = torch.stack([g.norm() for g in found]).norm()
        share = (self._longest / (length + 1e-6)).clamp(max=1.0)
        self._steps += 1
        bias1, bias2 = 1 - BETA1**self._steps, 1 - BETA2**self._steps
        for p, g, decay, first, second in zip(
            self._learned, found, self._decay, self._first, self._second, strict=True
        ):
            g = g * share
            p.mul_(1 - rate * decay)
            first.lerp_(g, 1 - BETA1)
            second.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            p.addcdiv_(first, (second / bias2).sqrt_().add_(EPSILON), value=-rate / bias1)
