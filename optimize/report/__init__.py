"""What people look at after a compile: HTML, Markdown, JSON and MLflow."""
