"""What watches a running service: the Grafana dashboard, and the settings of Prometheus and Grafana beside it."""
