"""A model for a material that it was not trained on: from corrected patches, or from the scan itself without labels."""
