"""Ground floor: errors, checks of arguments, log-space arithmetic, statistics of repeated trials."""
