"""The sections of a page, each made by one function from one judged result."""
