"""The language track: the package's losses and ensembles on language models whose texts a simulated user edits."""
