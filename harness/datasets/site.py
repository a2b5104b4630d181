"""One dataset's folders on this disk: which label file and which image lies where. Never reads what is in a file.

Names are matched exactly, else by case where that is unambiguous. Every failure says where was looked and what is
there, because a wrong folder is the commonest mistake of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from harness.datasets.errors import DatasetError

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".avif",
        ".heic",
        ".heif",
        ".mpo",
    ]
)


@dataclass(frozen=True)
class Site:
    """Where one dataset is looked for: `root` holds images, `labels` the label files where they lie
    elsewhere.
    """

    name: str
    root: Path | None
    labels: Path | None
    _listed: dict[Path, dict[str, list[str]]] = field(default_factory=dict, repr=False)

    def label_file(self, names: Sequence[str], subfolders: Sequence[str] = ("",)) -> Path:
        """The first of `names` that is there, under `labels` or `root` and their `subfolders`; case is
        ignored.

        Raises:
            DatasetError: none of them is there (says what is), or two names differ in case only.
        """
        found = self.optional_label_file(names, subfolders)
        if found is not None:
            return found
        raise self.no_label_file(" or ".join(repr(name) for name in names), subfolders)

    def no_label_file(self, wanted: str, subfolders: Sequence[str]) -> DatasetError:
        """What to raise where `wanted` was looked for in vain."""
        places = self._label_folders(subfolders)
        return DatasetError(
            f"{self.name}: the label file {wanted}",
            "; ".join(f"{place}: {contents(place)}" for place in places) or "no folder to look in",
            f"Name the folder that holds it: --labels DIR. {self._tree()}",
        )

    def label_files(self, pattern: str, subfolders: Sequence[str] = ("",)) -> list[Path]:
        """All label files that fit a shell pattern such as `Train_Label/*.txt`, sorted, from the first folder that
        has any.
        """
        if self.labels is not None and self.labels.is_file():
            return [self.labels] if fnmatch(self.labels.name, pattern.rpartition("/")[2]) else []
        return next(filter(None, (sorted(top.glob(pattern)) for top in self._label_folders(subfolders))), [])

    def optional_label_file(self, names: Sequence[str], subfolders: Sequence[str] = ("",)) -> Path | None:
        """As `label_file`, None where nothing fits. A `labels` that is itself a file is that file."""
        if self.labels is not None and self.labels.is_file():
            fits = self.labels.name.casefold() in {Path(name).name.casefold() for name in names}
            return self.labels if fits or len(names) == 1 else None
        for folder in self._label_folders(subfolders):
            for name in names:
                match = self._match(folder, name)
                if match is not None:
                    return folder / match
        return None

    def _label_folders(self, subfolders: Sequence[str]) -> list[Path]:
        tops = [top for top in (self.labels, self.root) if top is not None]
        folders = [top / sub if sub else top for top in tops for sub in subfolders]
        return list(dict.fromkeys(folder for folder in folders if folder.is_dir())) or tops

    def find_images(self, names: Sequence[str], folders: Sequence[str], *, required: bool = True) -> list[str]:
        """Paths of images relative to the root, "" where one is not there; case is ignored.

        Args:
            names: file names as the labels give them, forward slashes for subfolders.
            folders: folders of the official tree under the root in order of preference, "" for the root
                itself; the first that holds any of the images is the one.
            required: a root without a single one of them is the wrong folder; False where they are optional.

        Raises:
            DatasetError: none of the images is there (says what is), or a name is ambiguous by case.
        """
        trees = [[[f"{folder}/{name}" if folder else name for name in names]] for folder in folders]
        return self.find_in_trees(trees, required=required)

    def find_in_trees(self, trees: Sequence[Sequence[Sequence[str]]], *, required: bool = True) -> list[str]:
        """As `find_images`, where one tree spreads its images over several folders.

        Args:
            trees: download trees in order of preference; each holds the places of all images, and an image lies at
                its first place that exists. Trees are not mixed: the first that holds any image is the one.
        """
        count = len(trees[0][0]) if trees else 0
        if self.root is None or not count:
            return [""] * count
        for places in trees:
            rows = zip(*places, strict=True)
            found = [next(filter(None, (self._match(self.root, path) for path in row)), "") for row in rows]
            if any(found):
                return found
        if not required:
            return [""] * count
        looked = " or ".join(dict.fromkeys(str(self.root / places[0]) for tree in trees for places in tree))
        raise DatasetError(
            f"{self.name}: images such as {looked}",
            contents(self.root),
            f"Name the folder of the official download: --root DIR. {self._tree()}",
        )

    def unlabelled(self, paths: Iterable[str]) -> int:
        """How many images lie beside those of `paths`, in the same folders, that are not among them."""
        if self.root is None:
            return 0
        named = {path for path in paths if path}
        beside = 0
        for folder in {path.rpartition("/")[0] for path in named}:
            listing = self._listing(self.root / folder if folder else self.root)
            entries = [entry for same in listing.values() for entry in same]
            beside += sum(Path(entry).suffix.lower() in IMAGE_SUFFIXES for entry in entries)
        return max(beside - len(named), 0)

    def _tree(self) -> str:
        return f"`harness datasets info {self.name}` shows what it looks like."

    def _match(self, folder: Path, name: str) -> str | None:
        """The entry of `folder` that is `name` but for case; None if there is none."""
        *subfolders, last = name.split("/")
        prefix = ""
        for sub in subfolders:
            real = self._match(folder, sub)
            if real is None:
                return None
            folder, prefix = folder / real, f"{prefix}{real}/"
        matches = self._listing(folder).get(last.casefold(), [])
        if len(matches) > 1:
            raise DatasetError(
                f"{self.name}: one file {last!r} in {folder}",
                f"{len(matches)} that differ in case only: {', '.join(matches)}",
                "Remove or rename all but the right one: the labels cannot tell them apart.",
            )
        return prefix + matches[0] if matches else None

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            listing: dict[str, list[str]] = {}
            if folder.is_dir():
                for entry in sorted(path.name for path in folder.iterdir()):
                    listing.setdefault(entry.casefold(), []).append(entry)
            self._listed[folder] = listing
        return self._listed[folder]


def contents(folder: Path, most: int = 6) -> str:
    """What a folder holds, in a few words: `12 entries: Images/, a.csv, ...`."""
    if folder.is_file():
        return f"the file {folder.name}"
    if not folder.is_dir():
        return "no such folder"
    entries = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    if not entries:
        return "an empty folder"
    entries.sort(key=lambda entry: not entry.endswith("/"))
    return f"{len(entries)} entries: {', '.join(entries[:most])}{', ...' if len(entries) > most else ''}"
