"""What a run tells of itself: the blocks before it begins, numbers and times when it has ended."""

from __future__ import annotations

from .feedback import Feedback
from .pipeline import Statistics
from .plan import InferencePlan
from .suitability import doubts
from .tally import Tally
from .translation import tr
from .work import Work


def times(statistics: Statistics, searching: float, merging: float | None = None) -> dict[str, float]:
    """Where the time went, in seconds."""
    waited = statistics.waited_for_worker + statistics.waited_for_reader
    merged = {} if merging is None else {tr("Looking for duplicates"): merging}
    return {
        tr("Loading the package"): max(searching - statistics.seconds, 0.0),
        tr("Blocks: waiting for the model"): statistics.waited_for_worker,
        tr("Blocks: waiting for the raster"): statistics.waited_for_reader,
        tr("Blocks: everything else"): max(statistics.seconds - waited, 0.0),
        **merged,
    }


def announce(plan: InferencePlan, work: Work, workers: int, feedback: Feedback) -> None:
    """Tell how the raster will be looked at, and what speaks against it."""
    grid, feed = plan.items[0].source.grid, work.feeds[0]
    for doubt in doubts(plan.package.definition, grid):
        feedback.warning(doubt)
    _announce_blocks(work, grid.affine.cell_size, feedback)
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


def _announce_blocks(work: Work, cell_size: tuple[float, float], feedback: Feedback) -> None:
    configuration, crop = work.configuration, work.configuration.crop
    facts = {"width": crop.width, "height": crop.height, "padding": crop.padding, "x": cell_size[0], "y": cell_size[1]}
    if not configuration.in_chips:
        feedback.info(
            tr("Blocks: {count} of {width} × {height} pixels with a padding of {padding}, cell size {x:.6g} × {y:.6g}",
               count=len(work.blocks), **facts)
        )  # fmt: skip
        return
    size = tr("exactly") if crop.is_fixed else tr("at most")
    black = tr(", black around the feature") if crop.blackens else ""
    feedback.info(
        tr("Chips: {count} of {size} {width} × {height} pixels with a padding of {padding}{black}, cell size {x:.6g} × {y:.6g}, "
           "{batch} at a time", count=work.blocks.pixels, size=size, black=black, batch=crop.batch_size, **facts)
    )  # fmt: skip


def tell_detections(statistics: Statistics, tally: Tally, kept: int, plan: InferencePlan, feedback: Feedback) -> None:
    """Tell what a run did and found."""
    for reason, number in tally.decoder.problems.items():
        if number:
            feedback.warning(tr("{number} features of the model were {reason}.", number=number, reason=reason))
    feedback.info(
        tr("Blocks: {blocks} processed, {skipped} skipped as they hold no data",
           blocks=statistics.blocks - statistics.skipped, skipped=statistics.skipped)
    )  # fmt: skip
    after = tr("{kept} after suppression", kept=kept) if plan.suppression else tr("not suppressed")
    outside = tr(", {count} outside the extent left out", count=tally.outside) if tally.outside else ""
    others = tr(", {count} of other classes left out", count=tally.other_classes) if tally.other_classes else ""
    feedback.info(
        tr(
            "Detections: {count}, {after}{outside}{others}",
            count=statistics.detections,
            after=after,
            outside=outside,
            others=others,
        )
    )
    tell_speed(statistics, tr("megapixels"), 1e6, feedback)


def tell_speed(statistics: Statistics, unit: str, size: float, feedback: Feedback) -> None:
    """Tell how fast it went, in units of so many pixels."""
    rate = (statistics.pixels - statistics.earlier_pixels) / size / statistics.seconds if statistics.seconds else 0.0
    feedback.info(
        tr("Speed: {rate:.2f} {unit} per second; {seconds:.1f} s in all, {worker:.1f} s waited for the worker, "
           "{reader:.1f} s for the reader", rate=rate, unit=unit, seconds=statistics.seconds, worker=statistics.waited_for_worker,
           reader=statistics.waited_for_reader)
    )  # fmt: skip
