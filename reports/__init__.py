"""reports: from numbers to pages. Reads cards and predictions, never a store, an image or a network."""
