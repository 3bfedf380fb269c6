"""The widgets for a model's own arguments: in the toolbox dialog, the batch table and the modeler."""
