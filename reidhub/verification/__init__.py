"""Measures reported scores again, compares them with the reported ones, and writes a receipt and a report."""
