"""Learning without weights: what a user likes, inferred in words from edits, kept by context, and put before a writer."""
