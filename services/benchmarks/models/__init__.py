"""Full-size networks with random weights, and the same in the stock libraries."""
