"""Other libraries' names for the tensors of our networks, a file for each family."""
