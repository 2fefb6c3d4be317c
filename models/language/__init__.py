"""Text towers, their tokenizer, and sentences as classes."""
