"""A kind cluster with one command, on machines that can pull images and on those that cannot.

Standard library only, so that it runs before anything is installed. Run as `python3 hack/cluster`.
"""
