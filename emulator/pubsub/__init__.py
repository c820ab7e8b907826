"""Pub/Sub, embedded."""
