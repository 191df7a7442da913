"""Which learner for this log? Samples, proxies of the learners, their cross-validated values, tests with log-probabilities."""
