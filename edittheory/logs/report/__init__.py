"""One page of all that is known of a log: gathered (`gather`), drawn (`charts`, `diffs`) and laid out (`page`)."""
