"""What embeddings hold: principal components, intervals, distances of distributions."""
