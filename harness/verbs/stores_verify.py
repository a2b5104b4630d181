"""`harness stores verify`: every row of stores read, and every image that they were made of; what is wrong is said, and
planned anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from harness.verbs.stores import DATASET, ENCODER, STORE, VIEW

if TYPE_CHECKING:
    from cache.blocks import PlanItem
    from cache.errors import StoreError
    from cache.recompute import Agreement, Recomputed
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset


class StoreReport(msgspec.Struct, frozen=True):
    """What `stores verify` found in one store.

    Attributes:
        checked: images that have features, each row of which was read.
        findings: rows that are damaged or stale, and files that cannot be read.
        images: of those that were encoded, how many files were read and compared; `unseen`: how many were not.
        unknown: why no image file was looked at; "" where they were.
        recomputed: one entry a feature; empty where nothing was encoded again.
        without: why nothing could be, where that was asked for: its weights are not here.
        changed: of the images encoded again, those whose file is not there or another meanwhile, with the reason.
        failed: those that can no longer be encoded.
    """

    store: str
    checked: int
    findings: list[dict[str, str]]
    images: int = 0
    unseen: int = 0
    unknown: str = ""
    recomputed: list[Agreement] = []
    without: str = ""
    changed: dict[str, str] = {}
    failed: dict[str, str] = {}

    @property
    def exit_code(self) -> int:
        """3 where anything is wrong, or could not be compared as asked."""
        return 3 if self.findings or self.failed or self.without or any(c.wrong for c in self.recomputed) else 0

    def _looked(self) -> str:
        """What was looked at beside the store."""
        if self.unknown:
            return f"Image files were not looked at: {self.unknown}"
        unseen = f"; {self.unseen} of its images are not on this disk" if self.unseen else ""
        return f"{self.images} image files read{unseen}."

    def __rich__(self) -> str:
        n = len(self.findings)
        right = f"{n} finding{'s' * (n > 1)}" if n else "every row there and every checksum right"
        lines = [f"{self.store}: {self.checked} images, {right}. {self._looked()}"]
        lines += [f"  {f['path']}  {f['id']}  {f['problem']}" for f in self.findings]
        if any(f["id"] for f in self.findings):
            lines.append("  planned anew: the same `harness precompute` makes just these images again")
        for c in self.recomputed:
            lines.append(
                f"  {c.feature}: {c.images} encoded again, {c.equal} bit for bit the same; largest difference "
                f"{c.worst:.2g} of the image's largest number (tolerance {c.tolerance:.2g})"
            )
            if c.wrong:
                lines.append(
                    f"    WRONG: {', '.join(c.wrong)}. Was another machine, library or weights file at work? Make "
                    "them again: harness precompute --if-exists recompute"
                )
        lines += [f"  nothing encoded again: {self.without}"] if self.without else []
        lines += [f"  {i}: not compared, its file is {why} since" for i, why in self.changed.items()]
        lines += [f"  {i}: WRONG: stored, and cannot be encoded now ({why})" for i, why in self.failed.items()]
        return "\n".join(lines)


class StoreReports(list[StoreReport]):
    """What `stores verify` found, a report a store."""

    @property
    def exit_code(self) -> int:
        """3 where anything is wrong in any."""
        return max(report.exit_code for report in self)

    def __rich__(self) -> str:
        return "\n".join(report.__rich__() for report in self)


def verify(
    store: STORE = None,
    dataset: DATASET = None,
    encoder: ENCODER = None,
    view: VIEW = None,
    recompute: Annotated[
        int, typer.Option(min=0, help="Also encode this many images again, and compare with what is stored.")
    ] = 0,
    root: Annotated[
        Path | None, typer.Option(help="Where the images are (default: harness.toml, $IQA_DATA/NAME).")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="The dataset's label files, where they lie elsewhere.")] = None,
    weights: Annotated[Path | None, typer.Option(help="With --recompute: the encoder's weights.")] = None,
    device: Annotated[str, typer.Option(help="With --recompute: cpu, cuda, cuda:1, mps or auto.")] = "auto",
) -> StoreReports:
    """Reads every row of every store that fits, and finds each one that is missing, torn, flipped or stale; ends with
    exit code 3 if any is. What is found is planned anew, so that the same `precompute` makes just that.

    A row is stale where its image file has other bytes now than those that were encoded. Where a dataset's images are
    known, each file is read once for all its stores; size and time are not believed. Where they are not, it says so.

    With --recompute K also encodes K images again, the same K each time (those whose hashed ids come first), and
    compares: the same bits on the same machine, else within a tolerance.

    Examples:
    harness stores verify
    harness stores verify --dataset biq2021 --root iqa/biq2021
    harness stores verify --dataset biq2021 --recompute 20

    Returns:
        A report a store; --json prints a list, also of one.
    """
    from cache.errors import StoreError, WeightsError
    from cache.store import FeatureStore
    from harness import config, locate
    from harness.errors import NotFoundError, UsageError

    folder = store or config.load().path("stores", "stores")
    reports = StoreReports()
    opened: dict[str, list[FeatureStore]] = {}
    for path in locate.fitting_stores(folder, dataset, encoder, view):
        try:
            one = FeatureStore.open(path)
            one.ids()  # a damaged plan is met here
            opened.setdefault(one.dataset, []).append(one)
        except StoreError as error:
            reports.append(_closed(path, error))
    if len(opened) > 1 and (root or labels):
        raise UsageError(
            f"--root and --labels are of one dataset; these stores are of {', '.join(opened)}. Add --dataset."
        )
    for name, stores in opened.items():
        images = _Images.of(name, stores, (root, labels), typed=bool(root or labels or recompute))
        for one in stores:
            report = _verified(one, images)
            if recompute:
                damaged = {finding["id"] for finding in report.findings}
                whole = [i for i in one.ids() if i not in damaged]
                try:
                    again = _encode_again(one, whole, recompute, images, weights, device)
                except (NotFoundError, WeightsError) as error:  # the other stores' may be here
                    report = msgspec.structs.replace(report, without=str(error))
                else:
                    report = msgspec.structs.replace(
                        report, recomputed=again.agreements, changed=again.changed, failed=again.failed
                    )
            reports.append(report)
    return reports


class _Images(NamedTuple):
    """The image files of a dataset as they are now, each read once.

    Attributes:
        data: None where they are not known.
        unknown: why not.
        items: of those that are here, by id, without width and height.
    """

    data: Dataset | None
    unknown: str
    items: dict[str, PlanItem]

    @staticmethod
    def of(name: str, stores: list[FeatureStore], places: tuple[Path | None, Path | None], typed: bool) -> _Images:
        """Reads the files of all images that stand in the stores.

        Args:
            places: root and label files, where they were typed.
            typed: whoever named a place wants them looked at: it is an error where that cannot be done.
        """
        from harness import config, console, locate
        from harness.datasets.dataset import open_dataset
        from harness.datasets.errors import DatasetError
        from harness.errors import HarnessError

        settings, (root, labels) = config.load(), places
        try:
            folder = (locate.needed_root if typed else locate.dataset_root)(name, root, settings)
            if folder is None:
                return _Images(None, "where they are is not known (--root DIR).", {})
            data = open_dataset(name, folder, locate.labels_folder(name, labels, settings))
        except (HarnessError, DatasetError) as error:
            if typed:
                raise
            return _Images(None, str(error).split("\n")[0], {})
        there = set(data.manifest.loc[data.manifest["present"], "id"])
        ids = sorted(there & {i for one in stores for i in one.state.rows})
        with console.progress(f"read {name}", len(ids), "image") as bar:
            read = data.filled(ids=ids, progress=bar.advance)
        return _Images(data, "", {item.id: item for item in read.plan_items(ids) if item.sha256})

    def now(self, ids: list[str]) -> list[PlanItem]:
        """Some of them as they are planned."""
        from cache.images import probe

        return self.data.filled(probe, ids=ids).plan_items(ids) if self.data is not None and ids else []


def _verified(store: FeatureStore, images: _Images) -> StoreReport:
    """Looks at one store, and plans anew what is wrong: stale rows first, since a damaged one may be stale, too."""
    from cache.verify import plan_stale, stale
    from cache.verify import verify as run

    rows = store.state.rows
    found = stale(store, (images.items[i] for i in sorted(rows) if i in images.items))
    plan_stale(store, images.now([finding.id for finding in found]))
    found = [*run(store), *found]
    seen = sum(i in images.items for i in rows)
    return StoreReport(
        store=f"{store.dataset} {store.name}",
        checked=len(store.ids()),
        findings=[{"path": str(f.path), "id": f.id, "problem": f.problem} for f in found],
        images=seen,
        unseen=len(rows) - seen,
        unknown=images.unknown,
    )


def _closed(path: Path, error: StoreError) -> StoreReport:
    """A store that cannot be opened at all."""
    findings = [{"path": str(path), "id": "", "problem": str(error)}]
    return StoreReport(f"{path.parent.name} {path.name}", 0, findings, unknown="the store cannot be opened.")


def _encode_again(
    opened: FeatureStore, whole: list[str], count: int, images: _Images, weights: Path | None, device: str
) -> Recomputed:
    """Encodes some of a store's images again with the encoder that it names."""
    from cache.recompute import recompute
    from cache.views import RESIZERS
    from harness import console
    from harness.datasets.dataset import first_by_hash
    from harness.recipe import identity_of, resolve_encoder

    data = images.data
    assert data is not None  # --recompute asked for it
    assert data.root is not None
    paths, sources = (dict(zip(data.manifest["id"], data.manifest[of], strict=True)) for of in ("path", "scene"))
    by, seen = opened.identity.encoder, opened.identity.view
    resize = next((typed for typed, name in RESIZERS.items() if name == seen.resize), "pillow")  # "none": either
    loaded, (view,) = resolve_encoder(by.name, weights, [seen.name], device, by.precision, resize)
    ids = first_by_hash(whole, count)
    with console.progress(f"encode {opened.dataset} again", len(ids), "image") as bar:
        return recompute(opened, ids, data.root, paths, sources, loaded, view, identity_of(loaded, view), bar.advance)
