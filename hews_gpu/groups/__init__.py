"""Groups of victims: which kinds of crime were reported, and whether the groups are real; no model reads them."""
