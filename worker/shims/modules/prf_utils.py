"""Stand-in for the module of Esri's sample functions that cuts a block into mini-tiles and joins the results.

Function names and meanings are the public interface of Esri's raster-deep-learning samples; see CONTRACT.md 3.4
for the layout of mini-tiles. Coordinates are pixels, (y, x), from the top left of the unpadded block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def calculate_rectangle_size_from_batch_size(batch_size: int) -> tuple[int, int]:
    """Rows and columns of mini-tiles: as square as possible with no more rows than columns, else (n, 1)."""
    rows = max(math.isqrt(batch_size), 1)
    columns = batch_size // rows
    if rows * columns == batch_size:
        return rows, columns
    return batch_size, 1


def get_tile_size(model_height: int, model_width: int, padding: int, batch_height: int, batch_width: int) -> tuple[int, int]:
    """Net height and width of a block of batch_height × batch_width mini-tiles."""
    return (model_height - 2 * padding) * batch_height, (model_width - 2 * padding) * batch_width


def tile_to_batch(
    pixel_block: NDArray[Any],
    model_height: int,
    model_width: int,
    padding: int,
    fixed_tile_size: bool = True,
    **kwargs: int,
) -> tuple[NDArray[Any], int, int]:
    """Cut a block (bands, height, width) into mini-tiles (n, bands, model_height, model_width), row by row."""
    bands, height, width = pixel_block.shape
    inner_height, inner_width = model_height - 2 * padding, model_width - 2 * padding
    if fixed_tile_size:
        rows, columns = kwargs["batch_height"], kwargs["batch_width"]
    else:
        rows = math.ceil((height - 2 * padding) / inner_height)
        columns = math.ceil((width - 2 * padding) / inner_width)
    batch = np.zeros((rows * columns, bands, model_height, model_width), pixel_block.dtype)
    for index in range(rows * columns):
        top, left = (index // columns) * inner_height, (index % columns) * inner_width
        part = pixel_block[:, top : top + model_height, left : left + model_width]
        batch[index, :, : part.shape[1], : part.shape[2]] = part
    return batch, rows, columns


def batch_to_tile(batch: NDArray[Any], batch_height: int, batch_width: int) -> NDArray[Any]:
    """Join mini-tiles (n, bands, height, width) without padding to one block."""
    _, bands, height, width = batch.shape
    grid = batch[: batch_height * batch_width].reshape(batch_height, batch_width, bands, height, width)
    return grid.transpose(2, 0, 3, 1, 4).reshape(bands, batch_height * height, batch_width * width)


def convert_bounding_boxes_to_coord_list(bounding_boxes: np.ndarray) -> list[NDArray[Any]]:
    """Corners (4, 2) as y1x1, y1x2, y2x2, y2x1 of boxes (n, 4) given as y1, x1, y2, x2."""
    boxes = np.asarray(bounding_boxes, float)
    return list(boxes[:, [0, 1, 0, 3, 2, 3, 2, 1]].reshape(-1, 4, 2))


def remove_bbox_in_padding(bounding_boxes: NDArray[Any], image_height: int, image_width: int, padding: int) -> NDArray[Any]:
    """Drop boxes that lie wholly in the padding of their mini-tile."""
    return bounding_boxes[_reaches_inside(bounding_boxes, image_height, image_width, padding)]


def batch_detection_results_to_tile_results(
    batch_bounding_boxes: list[NDArray[Any]],
    batch_scores: list[NDArray[Any]],
    batch_classes: list[NDArray[Any]],
    image_height: int,
    image_width: int,
    padding: int,
    batch_width: int,
) -> tuple[list[NDArray[Any]], NDArray[Any], NDArray[Any]]:
    """Move the boxes of all mini-tiles into the block; scores and classes follow their boxes."""
    boxes, scores, classes = [np.empty((0, 4))], [np.empty(0)], [np.empty(0, np.uint8)]
    inner = np.array([image_height - 2 * padding, image_width - 2 * padding] * 2)
    for index, found in enumerate(batch_bounding_boxes):
        tile_boxes = np.asarray(found, float).reshape(-1, 4)
        keep = _reaches_inside(tile_boxes, image_height, image_width, padding)
        place = np.array(divmod(index, batch_width) * 2)
        boxes.append(tile_boxes[keep] - padding + place * inner)
        scores.append(np.asarray(batch_scores[index])[keep])
        classes.append(np.asarray(batch_classes[index])[keep].astype(np.uint8))
    return convert_bounding_boxes_to_coord_list(np.concatenate(boxes)), np.concatenate(scores), np.concatenate(classes)


def get_available_device(max_memory: float = 0.8) -> int:  # noqa: ARG001 - the interface
    """The first GPU: the host gives each process its own."""
    return 0


def _reaches_inside(boxes: NDArray[Any], height: int, width: int, padding: int) -> NDArray[Any]:
    return (boxes[:, 0] < height - padding) & (boxes[:, 1] < width - padding) & (boxes[:, 2] > padding) & (boxes[:, 3] > padding)
