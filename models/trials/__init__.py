"""The training of a sweep: batches of trials, then the model of the best one or of a blend."""
