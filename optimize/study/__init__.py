"""What is measured without compiling anything: retrieval, rerankers and the context."""
