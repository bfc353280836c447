"""A program on kernels becomes events. `run.Runner` is the one way in which this project executes a cell."""
