"""A network inside one process: the transport's contract without sockets.

For tests, and for many agents in one process.

Hosts have names, an address is `memory://NAME`. Links can be delayed, stalled and cut. Everything happens in
calls and timers of the running event loop, in an order that depends on nothing but the calls made and the
given random source: under a loop with virtual time the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from mesh.transport.accepting import Accepting
from mesh.transport.contract import (
    GOING_AWAY,
    MESSAGE_BYTES,
    NORMAL,
    PREAUTH_BYTES,
    PREAUTH_MESSAGES,
    TOO_BIG,
    UNPROVEN,
    VANISHED,
    Accept,
    Page,
)
from mesh.transport.errors import ConnectionLost, DialFailed, ListenFailed
from mesh.transport.route import End, Route, Wire

SCHEME: Final = "memory://"


class MemoryConnection:
    """One end of a connection; the contract's `Connection`. Made by the network, in pairs."""

    def __init__(self, network: MemoryNetwork, source: str, inward: Wire, outward: Wire) -> None:
        self.source = source
        self._network = network
        self._inward = inward
        self._outward = outward
        self._inbox: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], None] | None = None
        self._end: End | None = None
        self._is_authenticated = False
        self._messages = 0
        self._deadline: asyncio.TimerHandle | None = None
        self.on_end: Callable[[], object] | None = None
        """Called once when the connection is over."""
        inward.arrive = self._arrived

    async def send(self, data: bytes) -> None:
        """See `contract.Connection.send`."""
        assert len(data) <= MESSAGE_BYTES, "a message is cut to size by whoever makes it"
        if self._end is not None:
            self._raise()
        self._outward.put(data)
        await self._outward.room()
        if self._end is not None:
            self._raise()

    def offer(self, data: bytes) -> bool:
        """See `contract.Connection.offer`."""
        assert len(data) <= MESSAGE_BYTES, "a message is cut to size by whoever makes it"
        if self._end is not None or not self._outward.has_room:
            return False
        self._outward.put(data)
        return True

    async def receive(self) -> bytes:
        """See `contract.Connection.receive`."""
        assert self._reader is None, "one receive at a time"
        while not self._inbox:
            if self._end is not None:
                self._raise()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._inbox.popleft()
        self._inward.take(len(data))
        return data

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """See `contract.Connection.receive_each`."""
        while self._inbox:
            take(await self.receive())
        if self._end is None:
            self._take = take
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = self._take = None
        self._raise()

    def authenticated(self) -> None:
        """See `contract.Connection.authenticated`."""
        self._is_authenticated = True
        self._stop_deadline()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """See `contract.Connection.close`."""
        self._finish(code, reason)

    def abort(self) -> None:
        """See `contract.Connection.abort`."""
        if self._end is None:
            self._outward.lose()
            self._outward.put(End(VANISHED, "the other side vanished"))
            self._over(End(VANISHED, "aborted here"))

    def expire_in(self, seconds: float) -> None:
        """End it unless it is authenticated within `seconds`."""
        reason = f"not authenticated in {seconds:g} s"
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(seconds, self._finish, UNPROVEN, reason)

    def cut(self) -> None:
        """The link broke: nothing on its way arrives, the other end is told nothing."""
        self._outward.lose()
        self._over(End(VANISHED, "the link was cut"))

    def _arrived(self, item: bytes | End) -> None:
        if self._end is not None:
            return
        if isinstance(item, End):
            self._over(item)
            return
        self._messages += 1
        if len(item) > (MESSAGE_BYTES if self._is_authenticated else self._network.preauth_bytes):
            self._finish(TOO_BIG, "a message was too big")
        elif self._messages > PREAUTH_MESSAGES and not self._is_authenticated:
            self._finish(UNPROVEN, "too many messages were sent before authentication")
        elif self._take is None:
            self._inbox.append(item)
            self._wake_reader()
        else:
            self._hand(item, self._take)

    def _hand(self, item: bytes, take: Callable[[bytes], None]) -> None:
        self._inward.take(len(item))
        assert self._reader is not None, "somebody waits for the end"
        if not self._reader.done():
            try:
                take(item)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever gave `take`
                self._reader.set_exception(error)

    def _finish(self, code: int, reason: str) -> None:
        """End it from this side and tell the other, who learns no more than the contract allows."""
        if self._end is None:
            end = End(code, reason) if self._is_authenticated else End(UNPROVEN, "")
            self._outward.put(end)
            self._over(End(end.code, reason))

    def _over(self, end: End) -> None:
        if self._end is None:
            self._end = end
            self._stop_deadline()
            self._network.forget(self)
            if self.on_end is not None:
                self.on_end()
            self._wake_reader()
            self._outward.wake()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _raise(self) -> NoReturn:
        assert self._end is not None
        raise ConnectionLost(self._end.reason, self._end.code)


class MemoryListener:
    """The contract's `Listener` on a name."""

    def __init__(self, network: MemoryNetwork, name: str, accept: Accept, tasks: asyncio.TaskGroup) -> None:
        self.address = SCHEME + name
        self._network = network
        self._name = name
        self._accepting = Accepting(accept)
        self._tasks = tasks
        self._connections: dict[MemoryConnection, None] = {}

    def accept(self, connection: MemoryConnection) -> None:
        """Take one end of a new connection."""
        self._connections[connection] = None
        connection.on_end = lambda: self._connections.pop(connection)
        self._accepting.start(connection, self._tasks)

    async def close(self) -> None:
        """See `contract.Listener.close`."""
        self._network.stop_listening(self._name, self)
        for connection in tuple(self._connections):
            await connection.close(GOING_AWAY, "the agent stops")
        await self._accepting.finish()


class MemoryHost:
    """The contract's `Network` as seen from one named host. Made by `MemoryNetwork.host`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name

    async def connect(self, url: str, timeout_s: float) -> MemoryConnection:
        """See `contract.Network.connect`."""
        return await self._network.connect(self._name, url, timeout_s)

    async def listen(
        self, host: str, port: int, accept: Accept, *, pages: Mapping[str, Page] | None = None
    ) -> MemoryListener:
        """See `contract.Network.listen`. The host's name is the address; the rest has no meaning."""
        return self._network.listen(self._name, accept)


class MemoryNetwork:
    """Hosts and what lies between them.

    Args:
        tasks: where each `accept` runs; it outlives the listeners.
        delay: seconds that the next message takes; called once for each, so a seeded random in it replays.
            By default nothing takes time.
        handshake_s: how long an accepted connection may stay unproven.
        preauth_bytes: size of a message before authentication.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        delay: Callable[[], float] = lambda: 0.0,
        *,
        handshake_s: float = 10.0,
        preauth_bytes: int = PREAUTH_BYTES,
    ) -> None:
        self._tasks = tasks
        self._delay = delay
        self.preauth_bytes = preauth_bytes
        self._handshake_s = handshake_s
        self._listeners: dict[str, MemoryListener] = {}
        # Both ends of each connection, with their hosts; a dict keeps the order in which they were made.
        self._ends: dict[MemoryConnection, frozenset[str]] = {}
        self._cuts: set[frozenset[str]] = set()
        self._routes: dict[tuple[str, str], Route] = {}

    def host(self, name: str) -> MemoryHost:
        """The network as `name` sees it; a host exists by being named."""
        return MemoryHost(self, name)

    def cut(self, one: str, other: str) -> None:
        """Break every connection between two hosts and lose what is on its way; no dialling until `mend`."""
        pair = frozenset((one, other))
        self._cuts.add(pair)
        for connection, hosts in tuple(self._ends.items()):
            if hosts == pair:
                connection.cut()

    def mend(self, one: str, other: str) -> None:
        """Allow new connections between two hosts again."""
        self._cuts.discard(frozenset((one, other)))

    def stall(self, sender: str, receiver: str) -> None:
        """Hold what `sender` sends to `receiver`: nothing is lost, nobody is told, `send` comes to wait."""
        self._route(sender, receiver).stall()

    def resume(self, sender: str, receiver: str) -> None:
        """Deliver what a stall held back, and go on as usual."""
        self._route(sender, receiver).resume()

    def listen(self, name: str, accept: Accept) -> MemoryListener:
        """See `contract.Network.listen`."""
        if name in self._listeners:
            raise ListenFailed(f"{SCHEME}{name} is taken", fix="close the other listener first")
        listener = self._listeners[name] = MemoryListener(self, name, accept, self._tasks)
        return listener

    def stop_listening(self, name: str, listener: MemoryListener) -> None:
        """Free the name, if it is still this listener's."""
        if self._listeners.get(name) is listener:
            del self._listeners[name]

    async def connect(self, dialler: str, url: str, timeout_s: float) -> MemoryConnection:
        """See `contract.Network.connect`."""
        name = url.removeprefix(SCHEME)
        if name == url:
            raise DialFailed(url, "this is no address of the memory network", fix="write memory://NAME")
        outward, inward = self._route(dialler, name), self._route(name, dialler)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self._delay())
                if outward.is_stalled or inward.is_stalled:
                    # No answer ever comes: the timeout ends it.
                    await asyncio.get_running_loop().create_future()
        except TimeoutError:
            raise DialFailed(url, f"no answer within {timeout_s:g} s", fix="resume the link") from None
        hosts = frozenset((dialler, name))
        if hosts in self._cuts:
            raise DialFailed(url, "the link is cut", fix="mend it")
        listener = self._listeners.get(name)
        if listener is None:
            raise DialFailed(url, "nothing listens there", fix="start the agent there")
        there, back = Wire(outward), Wire(inward)
        near = MemoryConnection(self, name, back, there)
        far = MemoryConnection(self, dialler, there, back)
        self._ends[near] = self._ends[far] = hosts
        far.expire_in(self._handshake_s)
        listener.accept(far)
        return near

    def forget(self, connection: MemoryConnection) -> None:
        """The connection is over."""
        del self._ends[connection]

    def _route(self, sender: str, receiver: str) -> Route:
        key = (sender, receiver)
        if key not in self._routes:
            self._routes[key] = Route(self._delay)
        return self._routes[key]
