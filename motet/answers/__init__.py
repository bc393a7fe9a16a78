"""Tools of a caller for answers: collect, converse, save to files, and print."""
