"""A raster function that gives every chip the same label, at once: what is left is the host's own time."""


class NullChips:
    """Chips in, one label for all out."""

    def __init__(self):
        self.name, self.description = "Null chips", "Gives every chip the same label"

    def initialize(self, **scalars):
        """Nothing to load."""

    def getParameterInfo(self):
        """The rasters."""
        return [{"name": "rasters", "dataType": "rasters"}, {"name": "model", "dataType": "string"}]

    def getConfiguration(self, **scalars):
        """Chips of one size."""
        return {"tx": 32, "ty": 32, "batch_size": 64, "CropSizeFixed": 1, "BlackenAroundFeature": 0}

    def getFields(self):
        """Label and confidence."""
        return '{"fields": [{"name": "Label", "type": "esriFieldTypeString"}, {"name": "Confidence", "type": "esriFieldTypeDouble"}]}'

    def getGeometryType(self):
        """Polygons."""
        return 4

    def vectorize(self, **blocks):
        """A feature for each chip."""
        feature = '{"attributes": {"Label": "x", "Confidence": 0.5}}'
        return {"output_vectors": '{"features": [' + ", ".join([feature] * len(blocks["rasters_pixels"])) + "]}"}
