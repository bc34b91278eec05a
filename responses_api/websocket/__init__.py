"""Serve the Responses API over a WebSocket: turns on lanes, and a memory that lasts as long as the
connection.

connection   one socket: handshake, frames in and out, how it is closed
lanes        the order of turns
turn         one accepted frame, until it is answered
reply        an exchange's answer as frames
memory       what a turn may continue from although it was not stored
ending       why we close a connection
sockets      all that are open in this worker
"""
