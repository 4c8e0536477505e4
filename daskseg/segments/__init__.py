"""From clusters to segments: the model, profiles and honest names."""
