"""Vector stores: they keep vectors, texts and metadata by chunk id, and search by cosine."""
