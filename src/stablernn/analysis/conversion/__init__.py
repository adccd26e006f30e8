"""A trained recurrent model as a feed-forward one."""
