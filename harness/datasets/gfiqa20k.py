"""GFIQA-20k: about 20,000 faces cut from photographs, crowdsourced; MOS 0-1 with a variance."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source, mirror
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, sourced

READ = Layout(
    dataset="gfiqa20k",
    sources=(
        Source(files=("mos_val_rating.csv",), columns={"name": "img_name", "mos": "mos", "variance": "variance"}),
        mirror("GFIQA", variance="variance"),
    ),
    pattern=r"(?P<photo>[^/]+)_\d+\.png",
    example="831481558_0.png",
    group="{photo}",
    images=("image/{name}", "images/{name}", "{name}"),
)

SPEC = DatasetSpec(
    name="gfiqa20k",
    title="GFIQA-20k",
    year=2022,
    count=19998,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 1.0, True, "MOS"),
    label_variant="mos of mos_val_rating.csv",
    spread="std: root of the published variance",
    group_rule="photograph (the number before the underscore)",
    official_split="",
    tree="image/831481558_0.png ...\nmos_val_rating.csv (img_name, mos, variance)",
    mirror="images/ and GFIQA.txt",
    beware="Several faces may come from one photograph. The title says 20,000; the mirror list has 19,998.",
    terms="research",
    licence_thumbnails=False,
    citation="S. Su et al.: Going the Extra Mile in Face Image Quality Assessment: A Novel Database and Model. IEEE "
    "Transactions on Multimedia, 2023.",
    obtain="database.mmsp-kn.de/gfiqa-20k-database.html",
    sources=sourced("mirror table GFIQA.txt of icbcbicc/IQA-Dataset, counted", "count", "spread")
    | {
        "scale": "0.005-0.941 in the mirror table; the ends 0-1 are second-hand",
        "group_rule": f"{UNVERIFIED}: 18,456 numbers for 19,998 faces; that they are photographs is from memory",
        "label_variant": "second-hand",
        "tree": f"{UNVERIFIED}: folder and columns as other projects read them",
        "terms": "second-hand",
        "obtain": "readme of icbcbicc/IQA-Dataset",
    },
    reader="harness.datasets.gfiqa20k:READ",
)
