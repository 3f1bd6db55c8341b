"""Volumes of an engine: what it does after it has answered, and does not say (modern 1, 4, 5)."""

import pytest
from engines import Scripted, done, image, machine, pool_of, refused

from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    LostAnswerError,
    NotFoundError,
    NotPermittedError,
    QuotaExceededError,
    ServiceError,
    UnavailableError,
)

DATASTORES = pool_of(
    "DATASTORE",
    "<DATASTORE><ID>2</ID><NAME>files</NAME><TYPE>2</TYPE></DATASTORE>",
    "<DATASTORE><ID>100</ID><NAME>fast</NAME><TYPE>0</TYPE></DATASTORE>",
    "<DATASTORE><ID>1</ID><NAME>default</NAME><TYPE>0</TYPE></DATASTORE>",
    "<DATASTORE><ID>0</ID><NAME>system</NAME><TYPE>1</TYPE></DATASTORE>",
)
MADE = {"datastorepool.info": DATASTORES, "image.allocate": done(5)}
OLD = "<ERROR>Mon: ATTACHDISK: long ago</ERROR>"


class TestListing:
    def test_volumes_are_persistent_datablocks(self) -> None:
        documents = (
            image(9, 4, size=1),
            image(8, 7),
            image(7, persistent=0),
            image(6, type=0),
            image(5, 8, machines=(81,), public=1, size=1025),
        )
        with Scripted({"imagepool.info": pool_of("IMAGE", *documents)}) as engine:
            new, used = engine.cloud().volumes()
        assert engine.calls == [("imagepool.info", -3, -1, -1)]
        assert (new.id, new.size, new.users, new.state) == ("9", 1, 0, "creating")
        assert (used.id, used.size, used.users, used.state) == ("5", 2, 1, None)
        assert (used.visibility, used.owner, used.type) == ("public", "alice", "DATABLOCK")

    def test_an_empty_pool(self) -> None:
        with Scripted({"imagepool.info": pool_of("IMAGE")}) as engine:
            assert engine.cloud().volumes() == []

    def test_mounts(self) -> None:
        answers = {
            "image.info": done(image(5, 8, machines=(81, 7))),
            "vm.info": [
                done(machine("3/3", 0, 5)),
                refused("[one.vm.info] User [2] : Not authorized to perform USE VM [7].", 512),
            ],
        }
        with Scripted(answers) as engine:
            mine, theirs = engine.cloud().volume_mounts("5")
        assert (mine, theirs) == (("81", "vdb"), ("7", ""))


class TestCreating:
    def test_it_is_usable_on_return(self) -> None:
        answers = {**MADE, "image.info": [done(image(5, 4)), done(image(5, 4)), done(image(5))]}
        with Scripted(answers) as engine:
            cloud = engine.cloud()
            volume = cloud.create_volume(2, "data")
            assert (volume.id, volume.users, volume.state) == ("5", 0, None)
            assert engine.methods == [
                *("datastorepool.info", "image.allocate"),
                *("image.info", "image.info", "image.info"),
            ]
            template, datastore = engine.calls[1][1:]
            assert datastore == 1  # the first for images
            assert 'PERSISTENT = "YES"' in template  # "true" would mean no
            assert 'SIZE = "2048"' in template
            cloud.create_volume(2, "more")
            assert engine.methods[5:] == ["image.allocate", "image.info"]

    def test_a_public_one(self) -> None:
        answers = {**MADE, "image.info": done(image()), "image.chmod": done(5)}
        with Scripted(answers) as engine:
            assert engine.cloud().create_volume(1, "data", "public").visibility == "public"
        assert engine.calls[-1] == ("image.chmod", 5, -1, -1, -1, -1, -1, -1, 1, -1, -1)

    def test_the_engine_fails_later(self) -> None:
        text = "<ERROR>Thu : Error copying image in the datastore: injected: no</ERROR>"
        answers = {**MADE, "image.info": [done(image(5, 4)), done(image(5, 5, template=text))]}
        with Scripted(answers) as engine, pytest.raises(ServiceError) as caught:
            engine.cloud().create_volume(1, "data")
        assert "volume 5 could not be made: Thu : Error copying" in str(caught.value)
        assert "volume 5 exists all the same" in str(caught.value)

    def test_it_never_becomes_ready(self) -> None:
        with Scripted({**MADE, "image.info": done(image(5, 4))}) as engine:
            cloud = engine.cloud(timeout=1)
            cloud._patience = 0.3
            with pytest.raises(UnavailableError, match=r"more than 0\.3 seconds.*volume 5 exists"):
                cloud.create_volume(1, "data")

    def test_a_name_that_is_taken(self) -> None:
        text = (
            "[one.image.allocate] Error allocating a new image. NAME is already taken by IMAGE 5."
        )
        answers = {**MADE, "image.allocate": refused(text, 16384)}
        with Scripted(answers) as engine, pytest.raises(ConflictError, match="already taken"):
            engine.cloud().create_volume(1, "data")

    @pytest.mark.parametrize("what", ["IMAGES", "SIZE"])
    def test_quotas_are_named_as_such(self, what: str) -> None:
        text = (
            "[one.image.allocate] User [4] : user [4] limit of 1 reached for "
            f"{what} quota in DATASTORE with ID: 1."
        )
        with Scripted({**MADE, "image.allocate": refused(text, 512)}) as engine:
            with pytest.raises(QuotaExceededError, match="limit of 1 reached"):
                engine.cloud().create_volume(1, "data")

    def test_a_lost_answer_makes_nothing_twice(self) -> None:
        answers = {**MADE, "image.allocate": lambda handler, request: handler.hang_up()}
        with Scripted(answers) as engine, pytest.raises(LostAnswerError, match="named 'data' may"):
            engine.cloud().create_volume(1, "data")
        assert engine.methods.count("image.allocate") == 1

    @pytest.mark.parametrize("name", ["", "a/b", "a$b", 'a"b', "x" * 129, "a\nb", "😀", 5])
    def test_names_that_the_engine_refuses_are_not_sent(self, name: str) -> None:
        with Scripted({}) as engine, pytest.raises(InvalidValueError):
            engine.cloud().create_volume(1, name)
        assert engine.calls == []

    def test_no_such_datastore(self) -> None:
        with Scripted(MADE) as engine:
            cloud = engine.cloud()
            options = cloud.settings.options
            object.__setattr__(options, "datastore", "slow")
            with pytest.raises(ConfigurationError, match=r"there are: default \(1\), fast \(100\)"):
                cloud.create_volume(1, "data")


class TestAttaching:
    def test_it_waits_for_the_engine(self) -> None:
        answers = {
            "vm.info": [
                done(machine("3/3", 0, own=OLD)),
                done(machine("3/17", 0, 5, own=OLD)),
                done(machine("3/3", 0, 5, own=OLD)),
            ],
            "vm.attach": done(81),
        }
        sent: list[int] = []
        with Scripted(answers) as engine:
            assert engine.cloud().attach_volume("5", "81", lambda: sent.append(1)) == "vdb"
        assert engine.methods == ["vm.info", "vm.attach", "vm.info", "vm.info"]
        assert 'IMAGE_ID = "5"' in engine.calls[1][2]
        assert 'DEV_PREFIX = "vd"' in engine.calls[1][2]
        assert sent == [1]

    @pytest.mark.parametrize(
        ("after", "reason"),
        [
            ("<ERROR>Tue: ATTACHDISK: injected: no</ERROR>", "Tue: ATTACHDISK: injected: no"),
            (OLD, "the cloud gives no reason"),
        ],
        ids=["text", "silent"],
    )
    def test_it_fails_in_the_hypervisor(self, after: str, reason: str) -> None:
        answers = {
            "vm.info": [
                done(machine("3/3", 0, own=OLD)),
                done(machine("3/17", 0, 5, own=OLD)),
                done(machine("3/3", 0, own=after)),
            ],
            "vm.attach": done(81),
        }
        with Scripted(answers) as engine, pytest.raises(ServiceError, match=reason):
            engine.cloud().attach_volume("5", "81")

    @pytest.mark.parametrize("state", ["1", "3/1", "3/2", "3/36", "5", "6"])
    def test_a_machine_that_cannot_take_one(self, state: str) -> None:
        with Scripted({"vm.info": done(machine(state))}) as engine:
            with pytest.raises(ConflictError, match="neither running nor stopped"):
                engine.cloud().attach_volume("5", "81")

    @pytest.mark.parametrize(
        ("text", "code", "kind"),
        [
            ("Cannot acquire image 5, it is persistent and already in use", 2048, ConflictError),
            ("Image with ID: 99 does not exist", 2048, NotFoundError),
            ("User [2] : Not authorized to perform USE IMAGE [3].", 512, NotPermittedError),
            ("Could not attach a new disk to VM 81, wrong state HOTPLUG.", 2048, ConflictError),
            ("Cannot acquire image 5, it is locked", 2048, ConflictError),
            ("Cannot acquire image 5, it is in state: DISABLED", 2048, ConflictError),
            ("user [4] limit of 1 reached for RVMS quota in IMAGE.", 512, QuotaExceededError),
            (
                "User [4] not authorized to perform action on virtual machine.",
                512,
                QuotaExceededError,
            ),
        ],
        ids=[
            *("in use", "unknown", "another user's", "hot-plugged", "locked", "disabled"),
            *("quota", "quota of 7.4"),
        ],
    )
    def test_the_engine_refuses(self, text: str, code: int, kind: type[Exception]) -> None:
        answers = {
            "vm.info": done(machine()),
            "vm.attach": refused(f"[one.vm.attach] {text}", code),
        }
        with Scripted(answers) as engine, pytest.raises(kind):
            engine.cloud().attach_volume("5", "81")
        assert engine.methods == ["vm.info", "vm.attach"]

    def test_a_volume_that_the_engine_has_spoilt_is_mended(self) -> None:
        spoilt = "[one.vm.attach] Cannot acquire image 5, it is in state: ERROR"
        answers = {
            "vm.info": [done(machine()), done(machine("3/3", 0, 5))],
            "vm.attach": [refused(spoilt, 2048), done(81)],
            "image.info": done(image(5, 5)),
            "image.enable": done(5),
        }
        with Scripted(answers) as engine:
            assert engine.cloud().attach_volume("5", "81") == "vdb"
        assert ("image.enable", 5, True) in engine.calls

    def test_a_volume_that_could_not_be_made_is_not(self) -> None:
        spoilt = "[one.vm.attach] Cannot acquire image 5, it is in state: ERROR"
        answers = {
            "vm.info": done(machine()),
            "vm.attach": refused(spoilt, 2048),
            "image.info": done(image(5, 5, template="<ERROR>Error copying image</ERROR>")),
        }
        with Scripted(answers) as engine, pytest.raises(ConflictError):
            engine.cloud().attach_volume("5", "81")


class TestDetaching:
    def test_it_waits_until_the_machine_is_ready_again(self) -> None:
        answers = {
            "vm.info": [
                done(machine("3/3", 0, 5)),
                done(machine("3/17", 0)),  # the disk goes first
                done(machine("3/3", 0)),
            ],
            "vm.detach": done(81),
        }
        with Scripted(answers) as engine:
            assert engine.cloud().detach_volume("5", "81") == "vdb"
        assert engine.methods == ["vm.info", "vm.detach", "vm.info", "vm.info"]
        assert engine.calls[1] == ("vm.detach", 81, 1)

    def test_its_machine_is_looked_up(self) -> None:
        answers = {
            "image.info": done(image(5, 8, machines=(81,))),
            "vm.info": [done(machine("8", 0, 5)), done(machine("8", 0))],
            "vm.detach": done(81),
        }
        with Scripted(answers) as engine:
            engine.cloud().detach_volume("5")
        assert engine.methods == ["image.info", "vm.info", "vm.detach", "vm.info"]

    def test_it_fails_in_the_hypervisor(self) -> None:
        text = "<ERROR>Tue: DETACHDISK: injected: busy</ERROR>"
        answers = {
            "vm.info": [done(machine("3/3", 0, 5)), done(machine("3/3", 0, 5, own=text))],
            "vm.detach": done(81),
        }
        with Scripted(answers) as engine, pytest.raises(ServiceError, match="injected: busy"):
            engine.cloud().detach_volume("5", "81")

    def test_the_system_disk_is_refused_by_us(self) -> None:
        with Scripted({"vm.info": done(machine("3/3", 5))}) as engine:
            with pytest.raises(ConflictError, match="started from"):
                engine.cloud().detach_volume("5", "81")
        assert engine.methods == ["vm.info"]

    def test_not_attached(self) -> None:
        answers = {"vm.info": done(machine()), "image.info": done(image())}
        with Scripted(answers) as engine:
            for machine_id in ("81", None):
                with pytest.raises(NotFoundError):
                    engine.cloud().detach_volume("5", machine_id)


class TestEnding:
    def test_it_waits_until_the_name_is_free(self) -> None:
        answers = {
            "image.delete": done(5),
            "image.info": [
                done(image(5, 7)),
                refused("[one.image.info] Error getting image [5].", 1024),
            ],
        }
        with Scripted(answers) as engine:
            engine.cloud().delete_volume("5")
        assert engine.methods == ["image.delete", "image.info", "image.info"]

    def test_a_deletion_that_fails_later(self) -> None:
        text = "<ERROR>Error removing image from datastore. Retry the operation</ERROR>"
        answers = {"image.delete": done(5), "image.info": done(image(5, 5, template=text))}
        with Scripted(answers) as engine, pytest.raises(ServiceError, match="Error removing"):
            engine.cloud().delete_volume("5")

    def test_one_that_is_being_made_is_waited_for(self) -> None:
        locked = "[one.image.delete] Image locked, use --force flag to remove the image."
        gone = refused("[one.image.info] Error getting image [5].", 1024)
        answers = {
            "image.delete": [refused(locked, 8192), done(5)],
            "image.info": [done(image(5, 4)), done(image(5)), gone],
        }
        with Scripted(answers) as engine:
            engine.cloud().delete_volume("5")
        assert engine.methods.count("image.delete") == 2

    def test_one_that_cannot_be_made_is_deleted_all_the_same(self) -> None:
        locked = "[one.image.delete] Image locked, use --force flag to remove the image."
        gone = refused("[one.image.info] Error getting image [5].", 1024)
        answers = {
            "image.delete": [refused(locked, 8192), done(5)],
            "image.info": [done(image(5, 4)), done(image(5, 5)), gone],
        }
        with Scripted(answers) as engine:
            engine.cloud().delete_volume("5")
        assert engine.methods.count("image.delete") == 2

    def test_one_that_is_used(self) -> None:
        text = "[one.image.delete] Cannot delete image. There are 1 VMs using it."
        with Scripted({"image.delete": refused(text, 2048)}) as engine:
            with pytest.raises(ConflictError, match="1 VMs using it"):
                engine.cloud().delete_volume("5")


class TestSnapshots:
    def test_a_copy_that_nobody_writes_to(self) -> None:
        answers = {
            "image.info": [done(image()), done(image(6, 4)), done(image(6))],
            "image.clone": done(6),
            "image.persistent": done(6),
            "image.update": done(6),
        }
        with Scripted(answers) as engine:
            made = engine.cloud().create_snapshot("5", "monday")
        assert made.id == "6"
        assert engine.calls[1] == ("image.clone", 5, "monday")
        assert ("image.persistent", 6, False) in engine.calls
        assert engine.calls[-1] == ("image.update", 6, 'STRATUSLAB_SNAPSHOT_OF = "5"', 1)

    def test_of_an_attached_volume(self) -> None:
        answers = {
            "image.info": [done(image(5, 8, machines=(81,))), done(image(6, persistent=0))],
            "vm.info": [
                done(machine("3/3", 0, 5)),
                done(machine("3/26", 0, 5)),
                done(machine("3/3", 0, 5)),
            ],
            "vm.disksaveas": done(6),
            "image.update": done(6),
        }
        with Scripted(answers) as engine:
            assert engine.cloud().create_snapshot("5", "monday").id == "6"
        assert ("vm.disksaveas", 81, 1, "monday", "", -1) in engine.calls

    def test_the_list_and_a_volume_from_one(self) -> None:
        mark = "<STRATUSLAB_SNAPSHOT_OF>5</STRATUSLAB_SNAPSHOT_OF>"
        documents = (image(7, persistent=0), image(6, persistent=0, template=mark), image(5))
        answers = {
            "imagepool.info": pool_of("IMAGE", *documents),
            "image.clone": done(8),
            "image.info": done(image(8, persistent=0)),
            "image.persistent": done(8),
            "image.update": done(8),
        }
        with Scripted(answers) as engine:
            cloud = engine.cloud()
            assert [one.id for one in cloud.snapshots("5")] == ["6"]
            assert [one.id for one in cloud.volumes()] == ["5"]
            assert cloud.create_volume_from("6", "again").id == "8"
        assert ("image.persistent", 8, True) in engine.calls
