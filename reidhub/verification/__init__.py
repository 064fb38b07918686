"""Measures reported scores again: plan, run, journal, verdicts, receipt and report."""
