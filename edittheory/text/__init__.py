"""Text: edit distances, documents and their slots, style operators, corpora inside installed packages."""
