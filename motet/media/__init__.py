"""Media as bytes and as arrays. The only place, besides models and bundles, where particular modalities have names."""
