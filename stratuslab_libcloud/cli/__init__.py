"""The ``stratus-*`` commands, a module per noun."""
