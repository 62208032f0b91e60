"""Makers of the pictures in workflows and help pages."""
