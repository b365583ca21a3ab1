"""Vector stores: chunk ids, vectors, texts and metadata in; ids by cosine out."""
