"""Measures published scores again, compares the results with the published scores, and writes a report."""
