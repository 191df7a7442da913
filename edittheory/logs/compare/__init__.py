"""Several logs by the same statistics: are these users, simulated or not, like those people?"""
