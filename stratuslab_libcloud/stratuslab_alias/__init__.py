"""``stratuslab.libcloud``: where the User's Guide (9.1.3) looks for the driver."""
