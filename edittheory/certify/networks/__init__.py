"""Certificates of networks beyond the anytime sets of `certificates_neural`."""
