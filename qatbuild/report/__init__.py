"""report.json files -> what people read."""
