"""The sections of a report, one file each: its data, its picture, its words. None computes a score."""
