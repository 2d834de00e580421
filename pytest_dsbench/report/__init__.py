"""Results for people: text, and nothing that computes."""
