"""The searches for counterexamples: by gradients, by evolution, over bandits; what they find, as files."""
