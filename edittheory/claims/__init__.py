"""Claims: every statement of docs/theory.md with both of its sides, verification, and the search for counterexamples."""
