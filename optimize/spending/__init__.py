"""What a compile may spend on language models, and what it did spend."""
