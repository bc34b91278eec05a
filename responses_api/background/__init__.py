"""Make responses whether or not a client waits: in the background, or as streams that can be resumed."""
