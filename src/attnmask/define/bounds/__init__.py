"""What is known of a mask on a whole tile of positions, without looking at any of them."""
