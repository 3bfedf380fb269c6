"""All benchmarks of this machine as ratios within one run; prints a table and writes results/bench.json.

Each measurement runs in a process of its own, three times, alternating with what it is compared to; medians count.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import REPEATS, mirrored_raster, write_results

HERE = Path(__file__).parent
LARGE, SMALL, MOSAIC = 20_000, 5_000, 6_144
CHIPS = 20_000
SOURCES = ("direct", "file", "cog", "tiles", "mosaic", "warped")
CROWDS = {0: "scattered", 10: "10 per object", 1000: "1000 per object"}


def measure(script: str, *arguments: object) -> list[float]:
    """The numbers that a benchmark prints."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def medians(script: str, *variants: tuple[object, ...]) -> list[list[float]]:
    """The median of every number of each variant; the variants take turns."""
    rounds = [[measure(script, *variant) for variant in variants] for _ in range(REPEATS)]
    return [[statistics.median(column) for column in zip(*taken)] for taken in zip(*rounds)]


def main() -> None:
    """Measure everything."""
    table: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"}
    print(table["machine"])
    for size in (LARGE, SMALL, MOSAIC):
        mirrored_raster(size)

    (read, _), (host, large_peak) = medians("host_path.py", (LARGE, "read"), (LARGE, "pipeline"))
    table["host path"] = {"read": read, "pipeline": host, "ratio": read / host}
    print(f"(a) host path, {LARGE}² × 3: plain reading {read:.2f} s, null function {host:.2f} s, ratio {read / host:.2f}")

    (direct,), (piped,) = medians("efficiency.py", (MOSAIC, "direct"), (MOSAIC, "pipeline"))
    table["efficiency"] = {"direct": direct, "pipeline": piped, "ratio": direct / piped}
    print(
        f"(b) pipeline efficiency, {MOSAIC}²: vectorize alone {direct:.2f} s, pipeline {piped:.2f} s, ratio {direct / piped:.2f}"
    )

    [(_, small_peak)] = medians("host_path.py", (SMALL, "pipeline"))
    table["memory"] = {"small": small_peak, "large": large_peak, "growth": large_peak - small_peak}
    grown = large_peak - small_peak
    print(
        f"(c) peak memory of the host: {small_peak:.0f} MiB at {SMALL}², {large_peak:.0f} MiB at {LARGE}², growth {grown:.0f} MiB"
    )

    (_, alone), *kinds = medians("sources.py", *[(kind,) for kind in SOURCES])
    for kind, (opening, seconds) in zip(SOURCES[1:], kinds):
        ratio = alone / seconds
        table[f"source, {kind}"] = {"opening": opening, "pipeline": seconds, "ratio": ratio}
        print(
            f"(e) {kind}: opened in {opening:.2f} s, vectorize alone {alone:.2f} s, pipeline {seconds:.2f} s, ratio {ratio:.2f}"
        )

    (alone, _), (chips, _) = medians("chips.py", (CHIPS, "direct"), (CHIPS, "pipeline"))
    (few, few_peak), (many, many_peak) = medians("chips.py", (10**4, "null"), (10**6, "null"))
    table["chips"] = {"direct": alone, "pipeline": chips, "ratio": alone / chips, "1e4": few_peak, "1e6": many_peak}
    print(
        f"(f) {CHIPS} chips: vectorize alone {alone:.2f} s, whole run {chips:.2f} s, ratio {alone / chips:.2f}; with a null "
        f"function 10⁴ in {few:.1f} s, 10⁶ in {many:.1f} s, peak {few_peak:.0f} and {many_peak:.0f} MiB"
    )

    for per_object, name in CROWDS.items():
        (few, _, _), (many, peak, stays) = medians("suppression.py", (10**5, per_object), (10**6, per_object))
        table[f"suppression, {name}"] = {"1e5": few, "1e6": many, "peak": peak, "stay": stays}
        print(f"(d) suppression, {name}: 10⁵ in {few:.2f} s, 10⁶ in {many:.2f} s ({many / few:.1f}×), peak {peak:.0f} MiB")
    write_results("bench", table)


if __name__ == "__main__":
    main()
