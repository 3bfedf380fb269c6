"""A raster function that finds nothing, at once: what is left is the host's own time."""


class Null:
    """Blocks in, nothing out."""

    def __init__(self):
        self.name, self.description = "Null", "Finds nothing"

    def initialize(self, **scalars):
        """Nothing to load."""

    def getParameterInfo(self):
        """The raster, and the size of a block."""
        return [{"name": "raster", "dataType": "raster"}, {"name": "model", "dataType": "string"},
                {"name": "tile", "dataType": "numeric", "value": 1024}, {"name": "padding", "dataType": "numeric", "value": 64}]  # fmt: skip

    def getConfiguration(self, **scalars):
        """Square blocks of all bands."""
        return {"tx": int(scalars["tile"]), "ty": int(scalars["tile"]), "padding": int(scalars["padding"]), "inputMask": True}

    def getFields(self):
        """Class and confidence."""
        return '{"fields": [{"name": "Class", "type": "esriFieldTypeString"}, {"name": "Confidence", "type": "esriFieldTypeDouble"}]}'

    def getGeometryType(self):
        """Polygons."""
        return 4

    def vectorize(self, **blocks):
        """No features."""
        return {"output_vectors": '{"features": []}'}
