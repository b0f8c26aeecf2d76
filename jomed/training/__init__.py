"""Stage 2: training the query heads from the frozen reader's likelihoods."""
