"""What podwire puts into the kernel: values, their difference, the order of writing, and the drivers that write."""
