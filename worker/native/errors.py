"""What can be wrong with a package that was trained in ArcGIS."""


class NativeError(Exception):
    """A package cannot run natively; the message says why and what to do."""


def first_line(error: Exception) -> str:
    """What another library's error says, without the many lines of advice that may follow."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
