"""`motet cluster doctor`: compare a chart and its values with a cluster, before the installation."""
