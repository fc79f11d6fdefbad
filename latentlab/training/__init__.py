"""Emoji World and the training of the embedded miniature: never imported by the rest of latentlab."""
