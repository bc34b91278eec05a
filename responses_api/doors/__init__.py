"""Read and write the clients' formats: a folder for each door. No Django here."""
