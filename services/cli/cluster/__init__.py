"""`motet cluster`: releases of the chart on a Kubernetes cluster."""
