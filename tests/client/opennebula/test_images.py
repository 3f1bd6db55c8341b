"""Images of an engine (modern 4 and 7)."""

import time
from typing import Any

import pytest
from engines import Scripted, done, image, machine, pool_of, refused

from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)


def test_the_list_has_what_machines_start_from() -> None:
    documents = (
        image(9, 7, type=0),
        image(8),
        image(7, type=1),
        image(6, type=0, public=1, size=3),
    )
    with Scripted({"imagepool.info": pool_of("IMAGE", *documents)}) as engine:
        (found,) = engine.cloud().images()
    assert engine.calls == [("imagepool.info", -2, -1, -1)]  # other people's public ones included
    assert (found.id, found.name) == ("6", "image 6")
    told = found.details()
    assert (told["size"], told["state"], told["owner"]) == (3 * 2**20, "READY", "alice")
    assert (told["persistent"], told["visibility"], told["type"]) == (True, "public", "OS")
    assert (told["datastore"], told["format"]) == ("default", "raw")
    assert told["created"] == "2026-11-26T20:23:10Z"


def test_one_that_is_not_there() -> None:
    answers = {"image.info": refused("[one.image.info] Error getting image [99].", 1024)}
    with Scripted(answers) as engine, pytest.raises(NotFoundError):
        engine.cloud().image("99")


def test_a_volume_is_none() -> None:
    with Scripted({"image.info": [done(image(5)), done(image(5, persistent=0))]}) as engine:
        cloud = engine.cloud()
        with pytest.raises(NotFoundError, match="image 5 is a volume, not a system image"):
            cloud.image("5")
        assert cloud.image("5").id == "5"  # which nodes can read


def test_saving_waits_for_image_and_machine() -> None:
    answers = {
        "vm.info": [done(machine()), done(machine("3/26")), done(machine())],
        "vm.disksaveas": done(6),
        "image.update": done(6),
        "image.info": [done(image(6, 4, type=0)), done(image(6, type=0, persistent=0))],
    }
    seen: list[str] = []
    with Scripted(answers) as engine:
        saved = engine.cloud().save_image("81", "web 2", "mine", timeout=20, waiting=seen.append)
    assert engine.calls[1] == ("vm.disksaveas", 81, 0, "web 2", "", -1)
    assert (saved.id, saved.details()["description"]) == ("6", "mine")
    assert seen == ["Hotplug_Saveas", "Running"]


def test_saving_in_a_state_that_does_not_allow_it() -> None:
    text = "[one.vm.disksaveas] VM has to be RUNNING, POWEROFF or SUSPENDED to save disks."
    answers = {"vm.info": done(machine("1")), "vm.disksaveas": refused(text, 8192)}
    with Scripted(answers) as engine, pytest.raises(ConflictError, match="RUNNING, POWEROFF"):
        engine.cloud().save_image("81", "web", timeout=20)


def test_saving_that_fails_later() -> None:
    text = "<ERROR>Error saving: injected: full</ERROR>"
    answers = {
        "vm.info": done(machine()),
        "vm.disksaveas": done(6),
        "image.info": done(image(6, 5, type=0, template=text)),
    }
    with Scripted(answers) as engine, pytest.raises(ServiceError, match="injected: full"):
        engine.cloud().save_image("81", "web", timeout=20)


def test_copies() -> None:
    answers = {
        "image.clone": done(6),
        "image.info": [done(image(6, 4, type=0)), done(image(6, type=0))],
    }
    with Scripted(answers) as engine:
        assert engine.cloud().copy_image("5", "again", timeout=20).id == "6"
    assert engine.calls[0] == ("image.clone", 5, "again")


@pytest.mark.parametrize("description", [5, "]]>", "\U0001f600"])
def test_a_description_that_cannot_be_kept_makes_no_image(description: Any) -> None:
    with Scripted({"vm.info": done(machine())}) as engine:
        cloud = engine.cloud()
        for call in (cloud.save_image, cloud.copy_image):
            with pytest.raises(InvalidValueError):
                call("5", "again", description, timeout=20)
    assert engine.calls == []


def test_the_time_is_for_all_of_it() -> None:
    """It is over when the machine has been waited for, so the image is looked at once."""
    answers = {
        "vm.info": done(machine()),
        "vm.disksaveas": done(6),
        "image.info": done(image(6, 4, type=0)),
    }
    with Scripted(answers) as engine:
        with pytest.raises(UnavailableError, match="image 6 exists all the same"):
            engine.cloud().save_image(
                "81", "web", timeout=0.3, waiting=lambda state: time.sleep(0.35)
            )
    assert engine.methods.count("image.info") == 1
