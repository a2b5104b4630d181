"""OpenVINO as a way to run an encoder on the processor (extra `openvino`): in a precision that is stated.

Owns its settings and what is said where it is not installed. Knows no network.
"""

from __future__ import annotations

from typing import Any

from cache.errors import UsageError

CODE = "openvino.1"
HINTS = {"fp32": "f32", "bf16": "bf16"}


def core() -> Any:
    """OpenVINO itself.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            "--device openvino needs openvino, which is not installed. Type: pip install 'sam-iqa-harness[openvino]'"
        ) from error
    return openvino.Core()


def checked(precision: str) -> str:
    """The precision, where OpenVINO has it here; it would silently compute in another one.

    Raises:
        UsageError: it has not, or it is not installed.
    """
    here = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    having = [known for known in HINTS if known.upper() in here]
    if precision not in having:
        raise UsageError(f"OpenVINO computes in {', '.join(having)} on this processor; found --precision {precision}.")
    return precision


def compiled(model: Any, precision: str) -> Any:
    """A model made ready, for as many threads as torch has; left to itself OpenVINO chooses bf16 where it can."""
    import torch

    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return core().compile_model(model, "CPU", settings)
