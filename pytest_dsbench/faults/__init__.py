"""Cases that hang, end their process or leave the device unusable: while they run, after it, and alone once more."""
