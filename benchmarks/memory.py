"""Peak memory of encoding 300 and 3,000 images: it must not grow with the dataset.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--few 300] [--many 3000] [--view long128]

Each count in a process of its own: `precompute`'s engine, efficientnet-lite0, moments of all taps, over JPEG files of
real photographs (links to 60 files). A small view keeps it short: what is decoded ahead is decoded at full size all the
same.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import record


def encode(count: int, view: str) -> None:
    """Encodes so many images, then prints this process's peak in MB."""
    import material

    from cache.encoders.efficientnet import EFFICIENTNET_LITE0
    from harness.engines import local

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = material.photographs(folder / "real", min(60, count), 1024, 768)
        files = [folder / f"{i:05}.jpg" for i in range(count)]
        for i, file in enumerate(files):
            file.symlink_to(real[i % len(real)])
        encoder = EFFICIENTNET_LITE0.load(None, "cpu")
        local.run([material.job(folder / "stores", files, encoder, ["*:moments"], view)], encoder, lambda _: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # in kB on Linux


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--few", type=int, default=300)
    parser.add_argument("--many", type=int, default=3000)
    parser.add_argument("--view", default="long128")
    parser.add_argument("--only", type=int, help="so many images in this process, and no comparison")
    settings = parser.parse_args()
    if settings.only:
        return encode(settings.only, settings.view)
    peaks: list[float] = []
    for count in (settings.few, settings.many):
        command = [sys.executable, __file__, "--only", str(count), "--view", settings.view]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"{count} images: {peaks[-1]:.0f} MB", flush=True)
    result = record.result(
        f"peak memory at {settings.many} images, against {settings.few}",
        peaks[1] / peaks[0],
        "<= 1.1",
        megabytes=[round(peak) for peak in peaks],
    )
    return record.keep(__file__, [result], ["torch", "zarr", "pillow"])


if __name__ == "__main__":
    main()
