"""Model files: what they hold, in every layout, and the sizes in it."""
