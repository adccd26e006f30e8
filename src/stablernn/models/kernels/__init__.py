"""Fast paths with the gradient written out; each equals the plain loop over its cell."""
