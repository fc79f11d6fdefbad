"""What all pages share: models, running and watching, pictures with their latents, links, and the layout."""
