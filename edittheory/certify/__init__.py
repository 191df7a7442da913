"""Certificates: confidence sets of policies, upper bounds on suboptimality computed from a log alone, tests of balance."""
