"""What can be wrong with a package that was trained in ArcGIS."""


class NativeError(Exception):
    """A package cannot run natively; the message says why and what to do."""
