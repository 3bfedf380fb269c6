"""INPUT: from whatever a user gives to rasters that the engine can read."""
