"""The recurrent model, exactly, by iteration over all positions at once."""
