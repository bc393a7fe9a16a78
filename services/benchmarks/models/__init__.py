"""Networks of full size with random weights, and the pipelines of the stock libraries around the same networks."""
