from stratuslab_libcloud.compute_driver import StratusLabNode, StratusLabNodeDriver

__all__ = ["StratusLabNode", "StratusLabNodeDriver"]
