"""What a run tells of itself: the blocks before it begins, numbers and times when it has ended."""

from __future__ import annotations

from .blocks import Blocks
from .featureset import FeatureSetDecoder
from .feedback import Feedback
from .pipeline import Statistics
from .plan import InferencePlan
from .readers import Feed
from .suitability import doubts
from .translation import tr


def times(statistics: Statistics, searching: float, merging: float) -> dict[str, float]:
    """Where the time went, in seconds."""
    waited = statistics.waited_for_worker + statistics.waited_for_reader
    return {
        tr("Loading the package"): max(searching - statistics.seconds, 0.0),
        tr("Blocks: waiting for the model"): statistics.waited_for_worker,
        tr("Blocks: waiting for the raster"): statistics.waited_for_reader,
        tr("Blocks: everything else"): max(statistics.seconds - waited, 0.0),
        tr("Looking for duplicates"): merging,
    }


def announce(plan: InferencePlan, blocks: Blocks, feed: Feed, workers: int, feedback: Feedback) -> None:
    """Tell how the raster will be searched, and what speaks against it."""
    configuration, grid = blocks.configuration, plan.items[0].source.grid
    for doubt in doubts(plan.package.definition, grid):
        feedback.warning(doubt)
    x_size, y_size = grid.affine.cell_size
    feedback.info(
        tr("Blocks: {count} of {width} × {height} pixels with a padding of {padding}, cell size {x:.6g} × {y:.6g}",
           count=len(blocks), width=configuration.width, height=configuration.height, padding=configuration.padding,
           x=x_size, y=y_size)
    )  # fmt: skip
    named = [grid.band_names[band] for band in feed.bands]
    listed = ", ".join(f"{band + 1} ({name})" if name else str(band + 1) for band, name in zip(feed.bands, named))
    feedback.info(tr("Bands: {bands} of {count}, {dtype}", bands=listed, count=len(grid.band_names), dtype=grid.dtype))
    if feed.scaling is not None:
        ranges = ", ".join(f"{each.low:.6g} … {each.high:.6g} ({each.origin})" for each in feed.scaling.ranges)
        feedback.info(tr("Pixels are scaled to the model's range from: {ranges}", ranges=ranges))
    if len(plan.items) > 1:
        feedback.info(tr("Rasters: {count}, each searched by itself; the lines above are about the first", count=len(plan.items)))
    if workers > 1:
        feedback.info(tr("Inference processes: {count}", count=workers))


def tell_result(statistics: Statistics, decoder: FeatureSetDecoder, kept: int, plan: InferencePlan, feedback: Feedback) -> None:
    """Tell what the run did and found."""
    for reason, number in decoder.problems.items():
        if number:
            feedback.warning(tr("{number} features of the model were {reason}.", number=number, reason=reason))
    feedback.info(
        tr("Blocks: {blocks} processed, {skipped} skipped as they hold no data",
           blocks=statistics.blocks - statistics.skipped, skipped=statistics.skipped)
    )  # fmt: skip
    after = tr("{kept} after suppression", kept=kept) if plan.suppression else tr("not suppressed")
    outside = tr(", {count} outside the extent left out", count=statistics.outside) if statistics.outside else ""
    others = tr(", {count} of other classes left out", count=statistics.other_classes) if statistics.other_classes else ""
    feedback.info(
        tr(
            "Detections: {count}, {after}{outside}{others}",
            count=statistics.detections,
            after=after,
            outside=outside,
            others=others,
        )
    )
    rate = (statistics.pixels - statistics.earlier_pixels) / 1e6 / statistics.seconds if statistics.seconds else 0.0
    feedback.info(
        tr("Speed: {rate:.2f} megapixels per second; {seconds:.1f} s in all, {worker:.1f} s waited for the worker, "
           "{reader:.1f} s for the reader", rate=rate, seconds=statistics.seconds, worker=statistics.waited_for_worker,
           reader=statistics.waited_for_reader)
    )  # fmt: skip
