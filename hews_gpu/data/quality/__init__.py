"""What a table was like: counts that add up over partitions, and warnings made of them."""
