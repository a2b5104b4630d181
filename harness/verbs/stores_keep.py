"""`harness stores gc | derive | export | import`: what can be done with a store without encoding anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from harness.verbs.stores import DATASET, ENCODER, STORE, VIEW, find


class Collected(msgspec.Struct, frozen=True):
    """What `stores gc` freed, or would free.

    Attributes:
        dropped: features that were to go.
        left: those of them that are still there: in plans that a writer may be at work on.
    """

    store: str
    dry_run: bool
    plans: int
    rows: int
    copied: int
    bytes: int
    dropped: list[str] = []
    left: list[str] = []

    @property
    def exit_code(self) -> int:
        """1 where features are left that were to go."""
        return 1 if self.left else 0

    def __rich__(self) -> str:
        from harness.console import size

        if not self.plans and not self.bytes and not self.left:
            return f"{self.store}: nothing to free."
        done = "would free about" if self.dry_run else "freed"
        without = f", without {', '.join(self.dropped)}" if self.dropped else ""
        lines = [
            f"{self.store}: {done} {size(self.bytes)}: {self.plans} plans with {self.rows} rows that no longer count; "
            f"{self.copied} rows written anew{without}."
        ]
        if self.left:
            lines.append(
                f"  {', '.join(self.left)} is still there in part: what is planned after a block without a commit is "
                "left alone. Run the `harness precompute` that was broken off, then this again."
            )
        return "\n".join(lines)


def gc(
    store: STORE = None,
    dataset: DATASET = None,
    encoder: ENCODER = None,
    view: VIEW = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed, and leave it.")] = False,
    drop: Annotated[list[str] | None, typer.Option(help="Features that go, too, such as neck:map or '*:map'.")] = None,
) -> Collected:
    """Frees what superseded rows take up, and writes what is left of many small plans as one. Readers go on reading.

    Needs room for what it copies until it is done. A `precompute` that works on the same store at that time loses
    no image, but may have to do some of its work again. A feature that is dropped comes back only by encoding again.

    Examples:
    harness stores gc --dataset biq2021 --dry-run
    harness stores gc --dataset biq2021
    harness stores gc --dataset biq2021 --drop '*:map'
    """
    from cache.compaction import compact, stored_of

    opened = find(store, dataset, encoder, view)
    gone = stored_of(opened, drop or [])
    freed = compact(opened, dry_run, gone)
    left = [] if dry_run else [str(name) for name in opened.features(everywhere=False) if name in gone]
    return Collected(
        store=f"{opened.dataset} {opened.name}",
        dry_run=dry_run,
        plans=freed.plans,
        rows=freed.rows,
        copied=freed.copied,
        bytes=freed.bytes,
        dropped=[str(name) for name in gone],
        left=left,
    )


class DerivedRows(msgspec.Struct, frozen=True):
    """What `stores derive` made."""

    store: str
    features: list[str]
    rows: int
    left: int

    @property
    def exit_code(self) -> int:
        """1 where rows were left to the encoder."""
        return 1 if self.left else 0

    def __rich__(self) -> str:
        lines = [f"{self.store}: {self.rows} rows of {', '.join(self.features)}, from stored maps."]
        if self.left:
            lines.append(f"  {self.left} rows were left: other bytes lie there; `harness precompute` makes those.")
        return "\n".join(lines)


def derive(
    what: Annotated[list[str], typer.Option(help="A summary (moments, spectrum, gram) or map8; several allowed.")],
    tap: Annotated[list[str] | None, typer.Option(help="Of these taps only (default: of every stored map).")] = None,
    store: STORE = None,
    dataset: DATASET = None,
    encoder: ENCODER = None,
    view: VIEW = None,
) -> DerivedRows:
    """Makes a summary, or maps in half the bytes, from stored maps: no image is read and no encoder runs. The numbers
    are the same as those that `precompute` makes, since either is one of the map as it is stored.

    Examples:
    harness stores derive --what moments --dataset biq2021
    harness stores derive --what map8 --dataset biq2021
    harness stores derive --what moments --tap neck --store stores/biq2021/sam-vit-b@long1024-3fa9c2e1
    """
    from cache.derive import derive as run
    from cache.derive import lacking, possible
    from harness import console

    opened = find(store, dataset, encoder, view)
    wanted = possible(opened, what, tap or [])
    total = sum(len(opened.state.plans[plan].blocks[block]) for (plan, block), _ in lacking(opened, wanted))
    with console.progress(f"derive {opened.dataset}", total, "image") as bar:
        done = run(opened, wanted, bar.advance)
    return DerivedRows(f"{opened.dataset} {opened.name}", [str(name) for name in wanted], done.rows, done.left)


class Exchanged(msgspec.Struct, frozen=True):
    """A store that left or came."""

    store: str
    file: str
    images: int
    bytes: int

    def __rich__(self) -> str:
        from harness.console import size

        return f"{self.store}: {self.images} images, {size(self.bytes)} in {self.file}"


def export(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    format: Annotated[
        Literal["h5", "npz", "parquet"], typer.Option(help="h5 can be imported again, bit for bit.")
    ] = "h5",
    store: STORE = None,
    dataset: DATASET = None,
    encoder: ENCODER = None,
    view: VIEW = None,
) -> Exchanged:
    """Writes a store as one file that h5py, NumPy or any reader of Parquet opens; docs/store.md says what is where.

    Examples:
    harness stores export --format h5 --out biq2021.h5 --dataset biq2021
    """
    from cache.exchange import export as run

    opened = find(store, dataset, encoder, view)
    images = run(opened, out, format)
    return Exchanged(f"{opened.dataset} {opened.name}", str(out), images, out.stat().st_size)


def load(
    file: Annotated[Path, typer.Option(help="What `harness stores export --format h5` wrote.")],
    store: Annotated[Path | None, typer.Option(help="The stores' folder (default: ./stores).")] = None,
) -> Exchanged:
    """Makes a store from an exported HDF5 file, bit for bit; every checksum is compared.

    Examples:
    harness stores import --file biq2021.h5
    """
    from cache.exchange import load as run
    from harness import config

    made = run(file, store or config.load().path("stores", "stores"))
    return Exchanged(str(made.path), str(file), len(made.state.live), made.status().bytes)
