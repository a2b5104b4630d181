"""What two datasets, or a dataset and an encoder, are known to have in common: declared facts, put into words.

Never looks at an image: what nobody has declared is not found here (`harness.splits.lookalikes` compares pictures).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.datasets.spec import DatasetSpec

UNKNOWN = "unknown"


def between(trained: DatasetSpec, tested: DatasetSpec) -> list[str]:
    """Why a test of one dataset with a head trained on another is not clean; nothing where both are the same."""
    if trained.name == tested.name:
        return []
    pair = f"{trained.name} (train) and {tested.name} (test)"
    direct = trained.shares.get(tested.name) or tested.shares.get(trained.name)
    if direct:
        return [f"{pair} share content: {direct}"]
    return [
        f"{pair} share content, both are of {source}: {trained.name}: {what}; {tested.name}: {tested.shares[source]}"
        for source, what in trained.shares.items()
        if source in tested.shares
    ]


def seen(encoder: str, corpora: Sequence[str], dataset: DatasetSpec) -> list[str]:
    """Where an encoder may have seen a dataset's images before.

    Args:
        corpora: what its weights were trained on, names as `EncoderSpec.trained_on` has them; `unknown` among them
            says that this may not be all.
    """
    sources = {dataset.name.casefold(): "the dataset itself"}
    sources |= {source.casefold(): what for source, what in dataset.shares.items()}
    notes = [
        f"{encoder} was trained on {corpus}, a source of {dataset.name}: {sources[corpus.casefold()]}"
        for corpus in corpora
        if corpus.casefold() in sources
    ]
    if UNKNOWN in corpora:
        notes.append(
            f"what {encoder} was trained on is not known{' in full' if len(corpora) > 1 else ''}: whether it has seen "
            f"images of {dataset.name} cannot be told"
        )
    return notes
