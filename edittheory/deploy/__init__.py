"""Deployment: late ensembles and other bandits over learned policies, their environments, replay, drift."""
