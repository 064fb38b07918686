"""Builds the explorer: a static site of the zoo's checkpoints, with measured scores from receipts.

The same inputs always give the same files, byte for byte. The pages load nothing. All texts from manifests, receipts
and lists of links are untrusted: they are escaped, and only https addresses become links.
"""
