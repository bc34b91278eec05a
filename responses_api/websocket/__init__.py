"""The Responses API over a WebSocket: turns on lanes, and a memory that lasts as long as the connection.

connection   one socket: handshake, frames in and out, how it is closed
lanes        who waits for whom
turn         one frame that was accepted, until it is answered
reply        an exchange's answer as frames
memory       what a turn may continue from although it was not stored
ending       why a connection is closed by us
sockets      all that are open in this worker
"""
