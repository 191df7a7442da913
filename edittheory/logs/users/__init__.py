"""Simulated users fitted to real edits: texts as states (`states`), the user's law (`model`), its fit, its test, its map."""
