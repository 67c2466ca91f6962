"""Faults of the network between one node and one server."""

from __future__ import annotations

from abc import abstractmethod
from random import Random

from tests.faults.nemesis import Field, Nemesis
from tests.faults.proxy import Proxy, Way


class _OfALink(Nemesis):
    """Hurts the link of one node to ``server``; links to different servers may be hurt at once."""

    subject = "broker-network"
    server = "broker"

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.proxy: Proxy | None = None

    def choose(self, rng: Random) -> dict[str, object]:
        links = self.field.ground.links
        node = rng.choice(sorted(links))
        self.proxy = links[node].proxies[self.server]
        return {"node": node}

    def inject(self, rng: Random) -> dict[str, object]:
        told = self.choose(rng)
        assert self.proxy
        return told | self.hurt(self.proxy, rng)

    @abstractmethod
    def hurt(self, proxy: Proxy, rng: Random) -> dict[str, object]:
        """Hurt what goes through *proxy*, and tell how."""

    def heal(self) -> None:
        if self.proxy:
            self.proxy.heal()


class Reset(_OfALink):
    name = "broker-reset"

    def hurt(self, proxy: Proxy, rng: Random) -> dict[str, object]:
        return {"connections": proxy.reset()}


class Blackhole(_OfALink):
    name = "broker-blackhole"
    hold_s = (2.0, 6.0)

    def hurt(self, proxy: Proxy, rng: Random) -> dict[str, object]:
        ways = rng.choice([(Way.UP,), (Way.DOWN,), tuple(Way)])
        proxy.blackhole(*ways)
        return {"ways": [str(way) for way in ways]}


class HalfOpen(_OfALink):
    name = "broker-half-open"
    hold_s = (3.0, 8.0)

    def hurt(self, proxy: Proxy, rng: Random) -> dict[str, object]:
        return {"connections": proxy.half_open()}


class Latency(_OfALink):
    name = "broker-latency"
    hold_s = (2.0, 5.0)

    def hurt(self, proxy: Proxy, rng: Random) -> dict[str, object]:
        latency_s = round(rng.uniform(0.05, 0.4), 2)
        proxy.slow(latency_s=latency_s)
        return {"latency_s": latency_s}


class Partition(Nemesis):
    """One node reaches none of the servers."""

    name = "partition"
    subject = "broker-network"
    hold_s = (2.0, 6.0)

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.proxies: list[Proxy] = []

    def inject(self, rng: Random) -> dict[str, object]:
        node = rng.choice(sorted(self.field.ground.links))
        self.proxies = list(self.field.ground.links[node].proxies.values())
        for proxy in self.proxies:
            proxy.blackhole()
        return {"node": node}

    def heal(self) -> None:
        for proxy in self.proxies:
            proxy.heal()


class LostConfirm(_OfALink):
    """The broker takes what a client publishes, and the client never hears of it."""

    name = "lost-confirm"
    hold_s = (3.0, 5.0)

    def choose(self, rng: Random) -> dict[str, object]:
        self.proxy = self.field.ground.links["client"].broker
        return {"node": "client"}

    def hurt(self, proxy: Proxy, rng: Random) -> dict[str, object]:
        proxy.lose_answers()
        return {"connections": proxy.links}


class StoreReset(Reset):
    name = "s3-reset"
    subject = "s3-network"
    server = "s3"


class StoreBlackhole(Blackhole):
    name = "s3-blackhole"
    subject = "s3-network"
    server = "s3"


class RedisReset(Reset):
    name = "redis-reset"
    subject = "redis-network"
    server = "redis"


class RedisBlackhole(Blackhole):
    name = "redis-blackhole"
    subject = "redis-network"
    server = "redis"


class RedisLatency(Latency):
    name = "redis-latency"
    subject = "redis-network"
    server = "redis"


NETWORK_FAULTS: list[type[Nemesis]] = [
    *(Reset, Blackhole, HalfOpen, Latency, Partition, LostConfirm),
    *(StoreReset, StoreBlackhole, RedisReset, RedisBlackhole, RedisLatency),
]
