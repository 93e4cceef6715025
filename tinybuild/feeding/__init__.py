"""What a model takes, made by rule: processors and one batch of inputs."""
