"""AGIQA-1K, AGIQA-3K and AIGIQA-20K: pictures made by text-to-image models; a group is a prompt."""

from __future__ import annotations

from harness.datasets.layout import Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec, on_github, sourced

READ_1K = Layout(
    dataset="agiqa1k",
    sources=(Source(files=("AIGC_MOS_Zscore.xlsx",), columns={"name": "Image", "mos": "MOS", "group": "Prompt"}),),
    pattern=r"(?P<scene>[^/_]+)_[^/]+\.jpg",
    example="deepai_0_0_0_0.jpg",
    images=("images/{name}", "file/{name}", "{name}"),
    repeats="the last two rows of the workbook have one name, and a picture of another prompt has none",
)

READ_3K = Layout(
    dataset="agiqa3k",
    sources=(
        Source(
            files=("data.csv",),
            columns={"name": "name", "mos": "mos_quality", "std": "std_quality", "group": "prompt"},
        ),
    ),
    pattern=r"(?P<scene>[^/]+?)_[a-z]+_\d+\.jpg",
    example="AttnGAN_normal_000.jpg",
    images=("images/{name}", "AGIQA-3K/{name}", "{name}"),
)

READ_20K = Layout(
    dataset="aigiqa20k",
    sources=(
        Source(
            parts={"info_train.xlsx": "train", "info_val.xlsx": "valid", "info_test.xlsx": "test"},
            columns={"name": "name", "mos": "mos", "group": "prompt"},
        ),
        Source(files=("data.csv",), columns={"name": "name", "mos": "mos", "group": "prompt", "official_part": "set"}),
    ),
    pattern=r"[^/]+\.\w+",
    example="DALLE2_0000.png",
    images=(("train/{name}", "val/{name}", "test/{name}"), "images/{name}", "{name}"),
)

AGIQA1K = DatasetSpec(
    name="agiqa1k",
    title="AGIQA-1K",
    year=2023,
    count=1080,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", None, None, True, "MOS (z-scored)"),
    label_variant="MOS of AIGC_MOS_Zscore.xlsx; AIGC_all.csv holds other, raw scores (SRCC .81 with these)",
    group_rule="prompt",
    official_split="",
    tree="images/deepai_0_0_0_0.jpg ... (file.zip, unpacked)\nAIGC_MOS_Zscore.xlsx",
    beware="dreamStudio_8_9_1_1.jpg stands twice in the workbook, with two labels, and the picture of another prompt "
    "(8_5_0_0) is missing: neither label counts, so 1,078 of 1,080 can be used.",
    terms="MIT",
    licence_thumbnails=True,
    citation="Z. Zhang, C. Li, W. Sun, X. Liu, X. Min, G. Zhai: A Perceptual Quality Assessment Exploration for AIGC "
    "Images. arXiv 2303.12618, 2023.",
    obtain="https://github.com/lcysyzxdxc/AGIQA-1k-Database",
    sources=sourced("AIGC_MOS_Zscore.xlsx, counted", "count", "label_variant", "group_rule")
    | {
        "scale": "AIGC_MOS_Zscore.xlsx: 0-5; z-scores, so no end is declared",
        "tree": "AIGC_MOS_Zscore.xlsx and AIGC_all.csv read; folder of the images unknown",
        "terms": "licence of the official repository",
        "obtain": "the official repository",
        "scene": "the generator, first word of each name",
    },
    reader="harness.datasets.agiqa:READ_1K",
    label_files=on_github(
        "lcysyzxdxc/AGIQA-1k-Database",
        "7a8d9f23c1426b4466d713a91c5a7a0a7a716eae",
        "MIT",
        {"AIGC_MOS_Zscore.xlsx": "83706b6e46314feffd9ba5e48eba31e6585f7f5056f15cb38166b8b53e2b3323"},
    ),
)

AGIQA3K = DatasetSpec(
    name="agiqa3k",
    title="AGIQA-3K",
    year=2023,
    count=2982,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 0.0, 5.0, True, "MOS"),
    label_variant="mos_quality of data.csv; mos_align (does it show what was asked) is left alone",
    spread="std: std_quality",
    group_rule="prompt",
    official_split="",
    tree="images/AttnGAN_normal_000.jpg ... (or beside the list)\ndata.csv",
    beware="mos_quality reaches 4.49: lists that call it 0-1 are wrong. 300 prompts make all pictures, six generators "
    "each: split by prompt.",
    terms="MIT",
    licence_thumbnails=True,
    citation="C. Li, Z. Zhang, H. Wu, W. Sun, X. Min, X. Liu, G. Zhai, W. Lin: AGIQA-3K: An Open Database for "
    "AI-Generated Image Quality Assessment. IEEE Transactions on Circuits and Systems for Video Technology, 2023.",
    obtain="https://github.com/lcysyzxdxc/AGIQA-3k-Database",
    sources=sourced("data.csv, counted", "count", "label_variant", "spread", "group_rule")
    | {
        "scale": "data.csv: 0-4.49; the upper end 5 is second-hand",
        "tree": "data.csv read; folder of the images unknown",
        "terms": "licence of the official repository",
        "obtain": "the official repository",
        "scene": "the generator, first word of each name",
    },
    reader="harness.datasets.agiqa:READ_3K",
    label_files=on_github(
        "lcysyzxdxc/AGIQA-3k-Database",
        "30ded2bed96fc78070636548e811ece37e5d8f66",
        "MIT",
        {"data.csv": "4b1945c2137e196d9378b9cf4a114de2267b97a4724f0743e260287eb2ddd6c0"},
    ),
)

AIGIQA20K = DatasetSpec(
    name="aigiqa20k",
    title="AIGIQA-20K",
    year=2024,
    count=20000,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", None, None, True, "MOS (quality and alignment)"),
    label_variant="mos: one score of quality and alignment with the prompt together",
    group_rule="prompt",
    official_split="14,000 train, 2,000 valid, 4,000 test",
    tree="train/, val/, test/ with the pictures\ninfo_train.xlsx, info_val.xlsx, info_test.xlsx (name, prompt, mos)",
    beware="The MOS mixes quality with alignment to the prompt: a picture of high quality that shows something else "
    "scores low.",
    terms="Apache-2.0 (record of the download)",
    licence_thumbnails=False,
    citation="C. Li et al.: AIGIQA-20K: A Large Database for AI-Generated Image Quality Assessment. CVPR Workshops "
    "2024.",
    obtain="modelscope.cn/datasets/lcysyzxdxc/AIGCQA-30K-Image",
    sources=sourced("second-hand", "count", "label_variant", "group_rule", "official_split", "terms", "obtain")
    | {"tree": f"{UNVERIFIED}: no official file was read; names of files from memory", "scale": UNVERIFIED},
    reader="harness.datasets.agiqa:READ_20K",
)
