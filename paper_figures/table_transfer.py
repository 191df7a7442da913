"""The paper's Table 2 beside ours: the same policies with a second test user."""

from .table_main import make

FIGURE = make(
    "transfer",
    "table_transfer",
    "Mean edit cost with a second test user of other phrasings and limits (the paper's Table 2)",
)
