"""The paper's Table 1 beside one run of `tiny_llm`: RL, the other bandits and the choices between candidates among the rows."""

from .table_main import make

FIGURE = make(
    "strong",
    "llm_rivals",
    "Mean edit cost of every method of one run of tiny_llm; the test user is always strong (the paper's Table 1)",
    source="tiny_llm",
)
