"""Every error that a report raises for a person to read. Never prints."""

from __future__ import annotations


class ReportError(Exception):
    """A card or a prediction file is missing, damaged, or of a newer version."""

    exit_code = 3
