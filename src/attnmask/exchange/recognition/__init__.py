"""Recognition: from an array of booleans to the shortest expression in the library's own words."""
