"""How many files and connections a child may hold open."""

from __future__ import annotations


def descriptor_limit() -> int:
    """Return how many files a child may hold open; children raise a low limit by themselves."""
    try:
        import resource
    except ImportError:  # Windows sets no such limit
        return 8192
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Both s5cmd and the workers of curl raise a lower limit to 1,024, if the hard limit allows it.
    return max(soft, min(1024, hard if hard > 0 else 1024)) if soft > 0 else 8192
