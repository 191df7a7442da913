"""A chat server as this package meets it: calls, their faults and limits, replies, and what is kept of them."""
