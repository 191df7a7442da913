"""Runs that can be stopped and resumed: identities, ledgers of rows, files, provenance, launchers."""
