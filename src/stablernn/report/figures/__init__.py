"""The figures of the report, a file for each subject; drawn for the page and for print from the same points."""
