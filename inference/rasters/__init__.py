"""Rasters: where pixels come from, and how they are brought to one grid."""
