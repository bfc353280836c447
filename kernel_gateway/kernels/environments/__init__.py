"""Package environments for kernels: what files ask for, how it is built once, and where it is kept."""
