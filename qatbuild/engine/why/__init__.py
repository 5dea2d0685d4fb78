"""Why two results differ: the root causes, from the origins that are always kept."""
