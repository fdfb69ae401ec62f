"""libcurl as an engine: connections that stay open, in worker processes that die with this one."""
