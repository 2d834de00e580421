"""What a kernel or a message takes on a device: its bound, and how near to it it comes, measured or assumed."""
