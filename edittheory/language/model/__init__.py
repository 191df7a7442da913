"""The language model: architecture, weights in and out, tokens, decoding."""
