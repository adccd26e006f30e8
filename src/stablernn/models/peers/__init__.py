"""Networks that are feed-forward by construction, the peers of a truncated recurrent one."""
