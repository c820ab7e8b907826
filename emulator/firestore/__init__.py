"""Firestore, embedded."""
