"""What can be wrong with a dataset on a disk, as one message: expected, found, what to do. Never reads a
file.
"""

from __future__ import annotations


class DatasetError(Exception):
    """A root, a tree, a label file or a label is not as expected.

    Args:
        expected: what should be there.
        found: what is there instead.
        do: what to type or change.
    """

    exit_code = 3

    def __init__(self, expected: str, found: str = "", do: str = "") -> None:
        self.expected, self.found, self.do = expected, found, do
        parts = [f"Expected {expected}" if found else expected]
        parts += [f"found {found}"] if found else []
        super().__init__("; ".join(parts) + "." + (f" {do}" if do else ""))

    def __reduce__(self) -> tuple[type[DatasetError], tuple[str, str, str]]:
        return type(self), (self.expected, self.found, self.do)
