"""Files: volumes and tables in, labels and tables out. One small file a format."""
