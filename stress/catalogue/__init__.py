"""Historical bugs, one file each: a patch that brings the bug back."""
