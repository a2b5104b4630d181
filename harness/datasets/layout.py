"""How a dataset is laid out, as data: its label lists, what its file names say, where its images lie. One reader for
all datasets that can be told so; knows none of them by name.

A `Source` is one form in which labels are published (the authors' file, a mirror archive's table); a `Layout` puts
several of them, in order of preference, before one rule for names, so that an image has the same id from each.
Importing this module imports nothing heavy: pages of datasets are read for `datasets ls`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.readers import Labels
    from harness.datasets.site import Site

NUMBERS = ("mos", "std", "variance", "votes")
PARTS = {"training": "train", "validation": "valid", "val": "valid", "testing": "test"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published form of a dataset's labels.

    Attributes:
        files: names of the label file, tried in order; a shell pattern (`Train_Label/*.txt`) names several that are
            one list together.
        columns: manifest column (and `name`, the image as the list calls it) -> column of the file, or its number
            where there is no header. `name` and `mos` are needed, the rest is taken where it is there; `variance`
            becomes std.
        folders: where the files lie.
        parts: file -> official part, where each part has a list of its own; all of them are needed, and they stand
            instead of `files`.
        separator: of a text table; "" for blanks.
        header: whether the first line names the columns.
        sheet, skip: of a workbook; `skip` lines stand above the header.
        load: reads the found file instead, where it is no table: `(site, path) -> columns name, mos, ...`.
        change: a last word on the columns, as a function of the table.
        note: what a person should know where labels come from here.
    """

    files: tuple[str, ...] = ()
    columns: Mapping[str, str | int] = field(default_factory=dict)
    folders: tuple[str, ...] = ("",)
    parts: Mapping[str, str] = field(default_factory=dict)
    separator: str = ","
    header: bool = True
    sheet: str | int = 0
    skip: int = 0
    load: Callable[[Site, Path], pd.DataFrame] | None = None
    change: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All files that it may be read from."""
        return self.files or tuple(self.parts)

    def read(self, site: Site) -> pd.DataFrame | None:
        """Its columns by their manifest names, one row a label; None where its files are not here."""
        import pandas as pd

        found: list[pd.DataFrame] = []
        if self.parts:
            if site.optional_label_file(self.names, self.folders) is None:
                return None
            for file, part in self.parts.items():
                found.append(self._table(site, site.label_file([file], self.folders)).assign(official_part=part))
        else:
            for name in self.files:
                only = site.optional_label_file([name], self.folders) if "*" not in name else None
                paths = [only] if only is not None else site.label_files(name, self.folders) if "*" in name else []
                found = [self._table(site, path) for path in paths]
                if found:
                    break
        if not found:
            return None
        table = pd.concat(found, ignore_index=True)
        return self.change(table) if self.change is not None else table

    def _table(self, site: Site, path: Path) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        from harness.datasets import readers

        if self.load is not None:
            return self.load(site, path)
        needed = [str(self.columns[name]) for name in ("name", "mos")] if self.header else []
        if path.suffix.lower() in (".xls", ".xlsx"):
            table = readers.read_excel(path, needed, self.sheet, self.skip)
        else:
            table = readers.read_csv(
                path,
                needed,
                sep=self.separator or r"\s+",
                header="infer" if self.header else None,
                dtype={self.columns["name"]: str},
            )
        made: dict[str, object] = {}
        for name, column in self.columns.items():
            if column in table.columns:
                made[name] = readers.numbers(table, column, path) if name in NUMBERS else readers.texts(table, column)
        if "variance" in made:
            made["std"] = np.sqrt(np.asarray(made.pop("variance"), dtype=np.float64))
        lost = sorted({"name", "mos"} - set(made))
        if lost:
            raise DatasetError(
                f"{len(table.columns)} columns or more in {path}, with {' and '.join(lost)}", "fewer", "Get it again."
            )
        return pd.DataFrame(made)


def mirror(table: str, **columns: str) -> Source:
    """The table of the archives of icbcbicc/IQA-Dataset (University of Waterloo), which restate the authors' scores.

    Args:
        table: its name there, without `.txt`.
        columns: manifest columns that it has besides name, mos and reference.
    """
    return Source(
        files=(f"{table}.txt",),
        columns={"name": "dis_img_path", "mos": "score", "reference": "ref_img_path", **columns},
        note=f"labels from the mirror table {table}.txt, which restates the authors' scores",
    )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A dataset's label lists, names and places; called with root and labels, it is a dataset's reader.

    Templates are filled with the named groups of `pattern` and with `name` (what it matched), `stem` (without its
    suffix) and, for references, `reference` and its `stem`.

    Attributes:
        dataset: its name.
        sources: in order of preference; the first whose files are here is read.
        pattern: regular expression of the end of a name, from a slash on; case is ignored. Groups `distortion`,
            `level` and `scene` become columns.
        example: a name as it should be, for messages.
        lower: whether ids are in lower case, because published lists do not agree on it.
        id: template.
        images: download trees in order of preference: a template, or several where a tree spreads images.
        reference: template of the reference's id; "" where there is none (or a source has the column).
        references: templates of places of reference images.
        group: template; default: the reference's stem, else the id.
        scene: template, where the pattern has no such group.
        types: distortion as the pattern finds it -> words; all of them, if any.
        name_tree: whether to say which tree was found: where trees hold other sizes of the same images.
        repeats: why a name may be there twice; without it a repeated name is an error. Equal labels are one row, in
            the part of the later one; labels that differ fail the row.
    """

    dataset: str
    sources: tuple[Source, ...]
    pattern: str
    example: str
    images: tuple[str | tuple[str, ...], ...]
    lower: bool = False
    id: str = "{name}"
    reference: str = ""
    references: tuple[str, ...] = ()
    group: str = ""
    scene: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    name_tree: bool = False
    repeats: str = ""

    def __call__(self, root: Path | None, labels: Path | None) -> Labels:
        """Reads the labels and finds the images.

        Raises:
            DatasetError: no label file, a damaged one, names of another dataset, no image.
        """
        import pandas as pd

        from harness.datasets import manifest, readers
        from harness.datasets.site import Site

        site = Site(self.dataset, root, labels)
        source, table = self._read(site)
        named, fields = self._name(table, source)
        table, fields, doubled = self._once(named, fields)
        references = sorted({str(name) for name in table["reference"]} - {""}) if "reference" in table else []
        notes = [source.note] * bool(source.note) + [doubled] * bool(doubled)
        trees = [(tree,) if isinstance(tree, str) else tree for tree in self.images]
        paths = site.find_in_trees([[[form.format(**row) for row in fields] for form in tree] for tree in trees])
        if self.name_tree and any(paths):
            notes.append(f"images of {next(filter(None, paths)).rpartition('/')[0] or 'the folder itself'}")
        places = [[form.format(reference=name, stem=_stem(name)) for name in references] for form in self.references]
        beside = site.find_in_trees([places], required=False) if places else [""] * len(references)
        rows = pd.DataFrame(
            {
                "id": references,
                "reference": references,
                "group": [self._reference_group(name, table) for name in references],
                "is_reference": True,
                "path": beside,
            }
        )
        table = table.assign(path=paths)
        if "is_reference" not in table:
            table["is_reference"] = False
        frame = pd.concat([table, rows], ignore_index=True) if references else table
        frame["present"] = frame["path"] != ""
        return readers.Labels(manifest.conform(frame), "; ".join(notes), site.unlabelled(paths + beside))

    def order(self, path: Path) -> list[str]:
        """Ids in the row order of one label file: what other projects' row numbers count.

        Raises:
            DatasetError: not one of this dataset's label files, or a damaged one.
        """
        from harness.datasets.site import Site

        source = next((source for source in self.sources if path.name in source.names), None)
        if source is None:
            known = [name for source in self.sources for name in source.names]
            raise DatasetError(f"{self.dataset}: one of {', '.join(known)}", path.name, "Name that file.")
        one = replace(source, files=(path.name,), parts={}, folders=("",))
        table = one.read(Site(self.dataset, None, path.parent))
        if table is None:
            raise DatasetError(f"{self.dataset}: a label file at {path}", "no such file", "Correct the path.")
        return [str(name) for name in self._name(table, one)[0]["id"]]

    def _read(self, site: Site) -> tuple[Source, pd.DataFrame]:
        for source in self.sources:
            table = source.read(site)
            if table is not None:
                return source, table
        wanted = [(" and " if source.parts else " or ").join(map(repr, source.names)) for source in self.sources]
        folders = dict.fromkeys(folder for source in self.sources for folder in source.folders)
        raise site.no_label_file(" or ".join(dict.fromkeys(wanted)), list(folders))

    def _name(self, table: pd.DataFrame, source: Source) -> tuple[pd.DataFrame, list[dict[str, str]]]:
        """What the names say, as columns, and what templates are filled with, row by row."""
        expression = re.compile(f"(?:^|/)(?P<name>{self.pattern})$", re.IGNORECASE)
        fields: list[dict[str, str]] = []
        for row, text in enumerate(table["name"].tolist()):
            match = expression.search(str(text).replace("\\", "/"))
            if match is None:
                raise DatasetError(
                    f"{self.dataset}: names such as {self.example!r} in {' or '.join(source.names)}",
                    f"{text!r} in row {row + 1}",
                    "Get the official label file, or name the right one by --labels.",
                )
            found = {key: value or "" for key, value in match.groupdict().items()}
            if self.lower:
                found = {key: value.lower() for key, value in found.items()}
            fields.append({**found, "stem": _stem(found["name"])})
        made = table.drop(columns="name")
        made["id"] = [self.id.format(**row) for row in fields]
        if "reference" in made:
            made["reference"] = [
                self._cased(str(text).replace("\\", "/").rpartition("/")[2]) for text in made["reference"]
            ]
        elif self.reference:
            made["reference"] = [self.reference.format(**row) for row in fields]
        templates = {"group": self.group, "scene": self.scene or "{scene}" * ("scene" in fields[0])}
        for column, template in templates.items():
            if template and column not in made:
                made[column] = [template.format(**row) for row in fields]
        if "group" not in made and "reference" in made:
            made["group"] = [_stem(name) for name in made["reference"]]
        if "distortion" in fields[0]:
            made["distortion"] = [self._type(row["distortion"], row["name"]) for row in fields]
        if "level" in fields[0]:
            made["level"] = [int(row["level"] or 0) for row in fields]
        if "official_part" in made:
            words = [str(word).strip().lower() for word in made["official_part"]]
            made["official_part"] = [PARTS.get(word, word) for word in words]
        return made, fields

    def _cased(self, text: str) -> str:
        return text.lower() if self.lower else text

    def _type(self, code: str, name: str) -> str:
        if not self.types:
            return code
        if code not in self.types:
            raise DatasetError(
                f"{self.dataset}: a distortion type of {', '.join(self.types)}",
                f"{code!r} in {name!r}",
                "Get it again.",
            )
        return self.types[code]

    def _reference_group(self, reference: str, table: pd.DataFrame) -> str:
        # References belong to the group of their images; all of these have the same one.
        if not self.group:
            return _stem(reference)
        return str(table.loc[table["reference"] == reference, "group"].iloc[0])

    def _once(
        self, table: pd.DataFrame, fields: list[dict[str, str]]
    ) -> tuple[pd.DataFrame, list[dict[str, str]], str]:
        """Each id once, where the layout says why one may be there again; see `repeats`."""
        seen = Counter(table["id"])
        again = [name for name, times in seen.items() if times > 1]
        if not self.repeats or not again:
            return table, fields, ""
        labels: dict[str, set[float]] = {name: set() for name in again}
        last: dict[str, int] = {}
        for row, (name, mos) in enumerate(zip(table["id"], table["mos"], strict=True)):
            last[name] = row
            if name in labels:
                labels[name].add(mos)
        differ = {name: " and ".join(f"{mos:g}" for mos in sorted(found)) for name, found in labels.items()}
        differ = {name: told for name, told in differ.items() if len(labels[name]) > 1}
        rows = sorted(last.values())
        kept = table.iloc[rows].reset_index(drop=True)
        kept["failure"] = [f"two labels: {differ[name]}" if name in differ else "" for name in kept["id"]]
        kept["mos"] = [math.nan if name in differ else mos for name, mos in zip(kept["id"], kept["mos"], strict=True)]
        note = f"names that stand twice: {len(again)} ({self.repeats})"
        if differ:
            note += f"; with two labels, so that neither counts: {', '.join(differ)}"
        return kept, [fields[row] for row in rows], note


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0] or name
