"""The demo, and the headless host that it shares with the tests."""
