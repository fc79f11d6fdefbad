"""Pictures and embeddings on disk."""
