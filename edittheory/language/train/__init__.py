"""Training on logs: batches, losses of pairs, fine-tuning, reinforcement."""
