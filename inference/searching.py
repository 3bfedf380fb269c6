"""The work of a detector: blocks that cover the rasters, and answers that become detections."""

from __future__ import annotations

from .agreement import check_suppression, class_filter
from .blocks import Blocks
from .driving import feed_of
from .featureset import FeatureSetDecoder
from .feedback import Feedback
from .item_reader import BlockReader, ItemReader, Pause, WholeBlockReader
from .plan import InferencePlan
from .raster_function import FunctionAnswers
from .tally import Tally
from .work import Opened, Work


def searching(plan: InferencePlan, opened: Opened, feedback: Feedback) -> Work:
    """The work of a plan that detects objects."""
    answers = opened.answers
    classes = class_filter(plan, opened.arguments, feedback)
    check_suppression(plan, answers, feedback)
    configuration = answers.configuration
    feeds = [feed_of(item, configuration, feedback) for item in plan.items]
    width, height = configuration.crop.largest
    block_bytes = max(feed.slot_bytes(width * height) for feed in feeds)

    def open_reader(pause: Pause) -> BlockReader:
        return WholeBlockReader(ItemReader(feeds, opened.slots, pause))

    blocks = Blocks(tuple(item.extent for item in plan.items), configuration)
    return Work(blocks, configuration, feeds, Tally(plan, _decoder(plan, answers), classes), block_bytes, open_reader)


def _decoder(plan: InferencePlan, answers: FunctionAnswers) -> FeatureSetDecoder:
    fields = {field.name.casefold(): field for field in answers.fields}
    if plan.suppression is None:
        return FeatureSetDecoder(answers.geometry_type, fields)
    return FeatureSetDecoder(answers.geometry_type, fields, plan.suppression.confidence_field, plan.suppression.class_field)
