"""Frozen encoders, one file a family. `base` says what an encoder is."""
