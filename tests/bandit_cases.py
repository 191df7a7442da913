"""What the tests of bandits and of deployments share."""

HORIZON = 48
