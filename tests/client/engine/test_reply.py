"""XML-RPC answers, however they arrive."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from canned import pool, rpc
from late_expat import BUILDS

from stratuslab_libcloud.client.engine.calls import read_machine, read_pool, read_value
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.errors import NotPermittedError
from stratuslab_libcloud.untrusted import xml

MACHINES = [
    f"<VM><ID>{number}</ID><NAME>{'n' * (number % 90)} &amp; é</NAME><STATE>3</STATE></VM>"
    for number in range(300)
]


def cut(body: bytes, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    count = chance.choice([0, 1, 5, 500, 5000])
    edges = sorted(chance.choices(range(1, len(body)), k=count))
    return (body[start:end] for start, end in pairwise([0, *edges, len(body)]))


def answer(body: bytes, seed: int) -> Answer:
    return Answer(200, {"Content-Type": "text/xml"}, cut(body, seed))


@pytest.mark.parametrize("build", BUILDS)
def test_a_pool_is_the_same_however_it_is_cut(build: str) -> None:
    body = pool(*MACHINES)[2]
    with BUILDS[build]():
        for seed in range(40):
            found = read_pool(answer(body, seed))
            assert [machine.id for machine in found] == [str(number) for number in range(300)]
            assert {machine.name.strip("n") for machine in found} == {" & é"}


@pytest.mark.parametrize("build", BUILDS)
def test_short_answers_are_too(build: str) -> None:
    with BUILDS[build]():
        for seed in range(200):
            assert read_value(answer(rpc(True, "7", 0)[2], seed)) == "7"
            assert read_machine(answer(rpc(True, MACHINES[7], 0)[2], seed)).id == "7"
            assert read_pool(answer(rpc(True, "<VM_POOL/>", 0)[2], seed)) == []
            with pytest.raises(NotPermittedError):
                read_pool(answer(rpc(False, "[VirtualMachineInfo] no", 512)[2], seed))
            with pytest.raises(xml.UnsafeXMLError):
                read_pool(answer(rpc(True, "<VM_POOL>", 0)[2], seed))
