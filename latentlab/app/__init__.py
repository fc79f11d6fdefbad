"""The Gradio app: the pages, and what they share."""
