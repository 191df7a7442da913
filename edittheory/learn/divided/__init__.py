"""Classes and losses divided over devices and processes."""
