"""TensorBoard and Weights & Biases, written from the store's results and never from a trial."""
