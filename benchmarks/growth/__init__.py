"""How time grows with the size of the work: measured series and the curves drawn from them."""
