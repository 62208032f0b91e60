"""A ComfyUI host for demo, studies and tests: headless with a client, or as a library."""
