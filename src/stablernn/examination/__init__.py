"""A trained network of one's own, examined: may it be replaced by a feed-forward one?"""
