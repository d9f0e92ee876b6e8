"""What stands around both models. Each is one file and one yaml."""
