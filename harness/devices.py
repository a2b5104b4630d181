"""Devices as a person types them. Owns which there are; puts nothing on them."""

from __future__ import annotations


def pick_device(device: str) -> str:
    """`auto` -> the best device there is; anything else is checked.

    Raises:
        UsageError: this machine or this torch has no such device.
    """
    import torch

    from harness.errors import UsageError

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"--device {device}: torch {torch.__version__} cannot use it here ({reason}). Try cpu or auto."
        ) from error
    return device


def encoder_device(device: str) -> str:
    """As `pick_device`, and `openvino`, which is none of torch's."""
    from cache.encoders.base import OPENVINO

    return device if device == OPENVINO else pick_device(device)
