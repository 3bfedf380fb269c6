"""What can be wrong with a package that was trained in ArcGIS."""

TELLING = "WeightsUnpickler error:"
"""Begins the line of torch's advice that tells what was wrong with a file."""


class NativeError(Exception):
    """A package cannot run natively; the message says why and what to do."""


def first_line(error: Exception) -> str:
    """What another library's error says, without the many lines of advice around it."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [""]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    told = next((line for line in lines if line.startswith(TELLING)), first).removeprefix(TELLING).strip()
    return f"{type(error).__name__}: {told[:300]}" if told else type(error).__name__
