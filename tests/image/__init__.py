"""The image, built and run for real by podman."""
