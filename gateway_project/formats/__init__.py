"""Write dates and times of the console, by language: stamps to the second."""
