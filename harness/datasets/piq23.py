"""PIQ23: 5,116 portraits of 50 scenes, three attributes (three datasets here), two official splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.errors import DatasetError
from harness.datasets.layout import PARTS, Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import DatasetSpec, sourced

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.site import Site

FOLDERS = ("", "Scores", "Test split")


def _load(site: Site, path: Path) -> pd.DataFrame:
    """Scores of one attribute, and both official splits where their files are here."""
    import pandas as pd

    from harness.datasets import readers

    table = readers.read_csv(path, ["IMAGE", "JOD", "JOD STD", "TOTAL COMPARISONS", "SCENE"])
    made = pd.DataFrame(
        {
            "name": readers.texts(table, "IMAGE"),
            "mos": readers.numbers(table, "JOD", path),
            "std": readers.numbers(table, "JOD STD", path),
            "votes": readers.numbers(table, "TOTAL COMPARISONS", path),
            "scene": readers.texts(table, "SCENE"),
        }
    )
    scenes = _split(site, "Scene Split.csv", "SCENE", made["scene"].tolist())
    devices = _split(site, "Device Split.csv", "IMAGE", made["name"].tolist())
    named = [
        " ".join(f"{name}={part}" for name, part in (("scene", scene), ("device", device)) if part)
        for scene, device in zip(scenes, devices, strict=True)
    ]
    return made.assign(group=made["scene"], official_part=scenes, official_parts=named)


def _split(site: Site, file: str, column: str, keys: list[str]) -> list[str]:
    from harness.datasets import readers

    path = site.optional_label_file([file], FOLDERS)
    if path is None:
        return [""] * len(keys)
    table = readers.read_csv(path, [column, "SPLIT"])
    words = [word.lower() for word in readers.texts(table, "SPLIT")]
    parts = dict(zip(readers.texts(table, column), [PARTS.get(word, word) for word in words], strict=True))
    lost = sorted(set(keys) - set(parts))
    if lost:
        raise DatasetError(f"a part for each {column.lower()} in {path}", f"none for {lost[0]!r}", "Get it again.")
    return [parts[key] for key in keys]


def _layout(attribute: str) -> Layout:
    return Layout(
        dataset=f"piq23-{attribute.lower()}",
        sources=(Source(files=(f"Scores_{attribute}.csv",), folders=FOLDERS, load=_load),),
        pattern=r"\d+_\w+_Scene_\d+\.\w+",
        example="66_Indoor_Scene_0.jpg",
        images=(f"{attribute}/{{name}}", "{name}"),
    )


DETAILS, EXPOSURE, OVERALL = _layout("Details"), _layout("Exposure"), _layout("Overall")


def _spec(attribute: str, reader: str) -> DatasetSpec:
    others = [other for other in ("Details", "Exposure", "Overall") if other != attribute]
    read = "official file read" if attribute == "Overall" else "columns as in the official Scores_Overall.csv"
    return DatasetSpec(
        name=f"piq23-{attribute.lower()}",
        title=f"PIQ23, {attribute.lower()}",
        year=2023,
        count=5116,
        references=0,
        distortions=0,
        scale=ScoreScale("JOD", None, None, True, "JOD"),
        label_variant=f"column JOD of Scores_{attribute}.csv (JOD from pairwise votes within a scene)",
        spread="std: JOD STD; votes: TOTAL COMPARISONS",
        group_rule="scene",
        official_split="official:scene: 3,630 train, 1,486 test (official alone is this one); official:device: 3,604 "
        "train, 1,512 test",
        tree=f"{attribute}/66_Indoor_Scene_0.jpg ...\nScores_{attribute}.csv (or Scores/), and from the repository\n"
        "Test split/Scene Split.csv, Test split/Device Split.csv",
        shares={f"piq23-{other.lower()}": "other regions of the same photographs" for other in others},
        beware="The official figure is the median over scenes of the correlation within each: each scene's "
        "JOD have mean 0, so a pooled one means little. The device split has every scene in train and test "
        "by design: it asks for --allow-leakage and is stamped.",
        terms="non-commercial research only, after a request form; no exploitation of images or derived data",
        licence_thumbnails=False,
        citation="N. Chahine, S. Calarasanu, D. Garcia-Civiero, T. Cayla, S. Ferradans, J. Ponce: An Image Quality "
        "Assessment Dataset for Portraits. CVPR 2023, 9968-9978.",
        obtain="Request form: corp.dxomark.com/data-base-piq23; scores and splits: "
        "https://github.com/DXOMARK-Research/PIQ2023.",
        sources=sourced(f"Scores_{attribute}.csv: {read}", "label_variant", "spread")
        | sourced("README of the official repository", "year", "count", "terms", "citation", "obtain", "shares")
        | {
            "scale": f"{read}; README: JOD",
            "group_rule": "column SCENE; README",
            "official_split": "Scene Split.csv and Device Split.csv, counted",
            "tree": "README of the official repository; Scores_Overall.csv and both split files read",
            "scene": "column SCENE",
        },
        reader=f"harness.datasets.piq23:{reader}",
    )


SPEC_DETAILS = _spec("Details", "DETAILS")
SPEC_EXPOSURE = _spec("Exposure", "EXPOSURE")
SPEC_OVERALL = _spec("Overall", "OVERALL")
