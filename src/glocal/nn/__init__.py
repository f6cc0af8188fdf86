"""Blocks to drop into any network. They need torch alone."""
