"""Learners: per-example losses, learners over finite classes, objectives and training of parametric ones."""
