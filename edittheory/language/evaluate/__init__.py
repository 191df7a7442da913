"""Evaluation: episodes, held-out losses, replays of bandits, tables."""
