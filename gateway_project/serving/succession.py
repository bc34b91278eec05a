"""Know whom a gateway follows at its address, and who follows it: the supervisor's side of a takeover."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gateway_project.serving import systemd
from gateway_project.serving.handover import HandoverSocket, Predecessor

logger = logging.getLogger("tollgate.serve")


@dataclass(slots=True)
class Succession:
    """`is_activated`: the listening socket is systemd's, and stays open when nobody serves."""

    endpoint: HandoverSocket
    predecessor: Predecessor | None
    is_activated: bool
    has_successor: bool = False

    @property
    def takes_over(self) -> bool:
        """Tell whether another gateway still serves, and goes on if we do not become ready."""
        return self.predecessor is not None and not self.predecessor.is_told

    @property
    def keeps_listening(self) -> bool:
        """Tell whether connections that we do not accept any more are accepted by somebody else, now or
        later, so that none needs to be refused.
        """
        return self.is_activated or self.has_successor or self.takes_over

    @property
    def sockets(self) -> list[socket.socket]:
        """Return what is readable when `hear` has something to do."""
        lines = [] if self.predecessor is None else [self.predecessor.line]
        return [*self.endpoint.sockets, *lines]

    def begin(self) -> None:
        """Serve alone: the predecessor stops accepting, and whoever comes next asks us, where the data
        directory can hold a Unix socket.
        """
        try:
            self.endpoint.open()
        except OSError as error:
            logger.warning("no gateway will be able to take over from this one: %s", error)
        if self.predecessor is not None:
            self.predecessor.tell_ready()
        systemd.notify("READY=1")

    def hear(self, readable: Sequence[object]) -> bool:
        """Listen to predecessor and successor; return True when a successor has just begun to serve."""
        if self.predecessor is not None and self.predecessor.line in readable:
            self.predecessor.close()  # it says nothing more: it has ended
            self.predecessor = None
        if not self.endpoint.has_been_told(readable):
            return False
        self._give_way()
        return True

    def _give_way(self) -> None:
        self.has_successor = True
        self.endpoint.leave()
        pid = self.endpoint.successor_pid
        logger.info("process %s has taken over; this one ends its calls", pid)
        if pid is not None:  # else the unit would end with us
            systemd.notify(f"MAINPID={pid}")

    def close_here(self) -> None:
        """Close what a child inherited."""
        self.endpoint.close_here()
        if self.predecessor is not None:
            self.predecessor.close()

    def end(self) -> None:
        self.endpoint.remove()
