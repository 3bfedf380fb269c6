"""The words that the engine and a worker exchange, and where a block lies in a slot of shared memory.

A message is two big-endian lengths, a JSON object of the first length and a payload of the second. The
payload carries what a raster function answered, so that it is not wrapped in JSON twice. Nothing is ever
unpickled: a worker is not trusted.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

LENGTHS = struct.Struct(">II")
MAXIMUM_MESSAGE = 16 << 20
"""Bytes that the JSON part of a message may have."""
MAXIMUM_PAYLOAD = 256 << 20
"""Bytes that the payload of a message may have."""
ALIGNMENT = 64
"""Bytes to which the mask is aligned behind the pixels in a slot."""

Message = dict[str, Any]


class ProtocolError(Exception):
    """The other side sent something that is no message."""


def send(stream: BinaryIO, message: Message, payload: bytes = b"") -> None:
    """Write one message and flush.

    Raises:
        OSError: The other side is gone.
    """
    text = json.dumps(message).encode()
    stream.write(LENGTHS.pack(len(text), len(payload)) + text)
    if payload:
        stream.write(payload)
    stream.flush()


def check_size(payload: bytes) -> None:
    """Refuse a payload that the other side would refuse.

    Raises:
        ProtocolError: It is over the limit.
    """
    if len(payload) > MAXIMUM_PAYLOAD:
        raise ProtocolError(
            f"the function answered {len(payload) >> 20} MiB for one block, and {MAXIMUM_PAYLOAD >> 20} MiB are the most"
        )


def receive(stream: BinaryIO) -> tuple[Message, bytes] | None:
    """Read one message; None at the end of the stream.

    Raises:
        ProtocolError: The lengths are over the limits, or the text is no JSON object.
    """
    head = stream.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    text_length, payload_length = LENGTHS.unpack(head)
    if text_length > MAXIMUM_MESSAGE or payload_length > MAXIMUM_PAYLOAD:
        raise ProtocolError(f"a message of {text_length} + {payload_length} bytes is over the limit")
    text, payload = stream.read(text_length), stream.read(payload_length)
    if len(text) < text_length or len(payload) < payload_length:
        return None
    message = parse(text)
    if not isinstance(message, dict):
        raise ProtocolError(f"a message must be a JSON object, not {type(message).__name__}")
    return message, payload


def parse(text: bytes | str) -> Any:  # noqa: ANN401 - JSON is of any type
    """Parse JSON that the other side made; NaN and Infinity are let through, as json.dumps writes them.

    Raises:
        ProtocolError: The text is no JSON, or nested deeper than Python's recursion limit.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ProtocolError("JSON nested too deeply") from error
    except ValueError as error:
        raise ProtocolError(f"not JSON: {error}") from error


def mask_offset(pixel_bytes: int) -> int:
    """Where the mask begins in a slot whose pixels take pixel_bytes bytes."""
    return -(-pixel_bytes // ALIGNMENT) * ALIGNMENT
