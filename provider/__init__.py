"""What QGIS loads: the plugin, the Processing provider and what belongs to the desktop."""
