"""Media as bytes and as arrays: detection, decoding in a confined child process, and encoding."""
