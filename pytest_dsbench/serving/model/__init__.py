"""What is served: the shapes of a model, read from the fields of a Hugging Face config.json."""
