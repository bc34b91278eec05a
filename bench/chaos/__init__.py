"""Run the kill loop: processes die at random while calls run; the books must then hold what was sent."""
