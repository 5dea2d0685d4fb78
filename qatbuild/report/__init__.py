"""Renders report.json and route.json files for people: tables, one HTML page, JUnit XML."""
