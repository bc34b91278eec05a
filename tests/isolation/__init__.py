"""That no tenant can learn of or touch what is another's."""
