"""What results were made from: kept for every request that was ever published here, for `doit why`."""
