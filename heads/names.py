"""Names of features: `tap:what` or `encoder@view/tap:what`. Never looks at a feature itself."""

from __future__ import annotations

from collections.abc import Sequence

from heads.errors import HeadError

MAPS = ("map", "map8")  # as stores keep them: exact, or in half the bytes


def is_map(name: str) -> bool:
    """Whether a feature name stands for a map, however it is stored; otherwise it is a summary."""
    return name.rpartition(":")[2] in MAPS


def unqualified(name: str) -> str:
    """`sam-vit-b@long1024/neck:map` -> `neck:map`."""
    return name.rpartition("/")[2]


def output_maps(available: Sequence[str], output: str) -> list[str]:
    """The map of the output tap in every store that has it, or its plain name where none has."""
    found = [[name for name in available if unqualified(name) == f"{output}:{what}"] for what in MAPS]
    return list(dict.fromkeys(next(filter(None, found), [f"{output}:{MAPS[0]}"])))


def all_summaries(available: Sequence[str]) -> list[str]:
    """All that are no maps, or the pattern that asks for moments where there are none."""
    return list(dict.fromkeys(name for name in available if not is_map(name))) or ["*:moments"]


def require(variant: str, reads: str, names: Sequence[str]) -> None:
    """Raises HeadError unless all names are of the kind that a head reads: "maps" or "summaries"."""
    wrong = [name for name in names if is_map(name) != (reads == "maps")]
    if not wrong:
        return
    example, others = ("TAP:map", "ridge, mlp") if reads == "maps" else ("TAP:moments", "fft, spatial, sam-iqa")
    raise HeadError(
        f"Expected {reads}, which the head {variant} reads, found {', '.join(wrong)}. "
        f"Name {reads} (--features {example}), or use a head that reads the others: {others}."
    )
