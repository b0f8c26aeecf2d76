"""The reader: prompts, answer sets, exact scoring, the score table and fine-tuning."""
