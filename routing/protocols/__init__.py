"""How each upstream protocol is spoken: requests out, usage and failures in. No Django here."""
