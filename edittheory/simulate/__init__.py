"""Logs of edits made by simulated users: rounds, agents and users over a chat server, and the loop that collects them."""
