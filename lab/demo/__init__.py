"""The demo, and the makers of the bundled pictures."""
