"""Logs of real edits: read and check, measure costs, export for trainers. `edittheory log --help`."""
