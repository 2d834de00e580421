"""What a fleet serves, as text."""
