"""Classification of features: which chip belongs to each, how chips are read, and what the function's answers mean."""
