"""Pages of warnings in use: a replay that moves through its issue times, and the verification of what was said."""
