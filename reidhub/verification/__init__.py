"""Measures again the scores that authors reported: plan, run, journal, verdicts, receipt and report."""
