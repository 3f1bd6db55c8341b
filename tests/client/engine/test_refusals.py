"""What a refusal of an engine means: by its text, as codes differ (opennebula-modern 8, 10)."""

import pytest
from engines import Scripted, refused

from stratuslab_libcloud.errors import (
    ConflictError,
    CredentialsError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    QuotaExceededError,
    ServiceError,
)

NEW = "Error allocating a new image. "
IN_TEMPLATE = "Error allocating a new virtual machine template. DISK 0: "
KINDS: dict[type[ServiceError], list[tuple[int, str]]] = {
    CredentialsError: [(256, "User couldn't be authenticated, aborting call.")],
    NotPermittedError: [
        *(
            (512, f"User [2] : Not authorized to perform {right} {what} [3].")
            for right in ("USE", "MANAGE", "ADMIN", "CREATE")
            for what in ("IMAGE", "VM", "NET", "TEMPLATE", "DATASTORE")
        ),
        (512, "User [2] : Not authorized to perform USE IMAGE."),
        (512, "User [2] : VM Template includes a restricted attribute MAC."),
        (512, "User [2] : Template includes a restricted attribute SOURCE."),
    ],
    QuotaExceededError: [
        *(
            (code, f"{begin}{who} limit of 1 reached for {name}{end}")
            for code, begin, end in ((512, "User [4] : ", "."), (2048, "", ""))
            for who in ("user [4]", "group [1]")
            for name in (
                *("VMS quota in VM", "CPU quota in VM", "MEMORY quota in VM"),
                *("RUNNING_VMS quota in VM", "SYSTEM_DISK_SIZE quota in VM"),
                *("RVMS quota in IMAGE with ID: 0", "LEASES quota in NETWORK with ID: 0"),
                *("IMAGES quota in DATASTORE with ID: 1", "SIZE quota in DATASTORE with ID: 1"),
            )
        ),
        (512, "User [4] not authorized to perform action on virtual machine."),
    ],
    NotFoundError: [
        *(
            (1024, f"Error getting {what} [9999].")
            for what in (
                *("image", "virtual machine", "virtual machine template", "virtual network"),
                *("datastore", "marketplace", "marketplaceapp", "security group", "zone"),
            )
        ),
        (1024, "Error getting image Pool."),
        (2048, "Image with ID: 99 does not exist"),
        (8192, "DISK 0: Image with ID: 99 does not exist"),
        (16384, f"{IN_TEMPLATE}Image with ID: 99 does not exist"),
        (8192, "Virtual network with ID: 99 does not exist"),
        (8192, "User 2 does not own an image with name: x . Set IMAGE_UNAME or IMAGE_UID of owner"),
        (8192, "User 2 does not own a network with name: x . Set NETWORK_UNAME or NETWORK_UID"),
        (2048, "VM disk does not exist"),
        (2048, "Could not detach disk with DISK_ID 99, it does not exist."),
        (2048, "Snapshot does not exist"),
        (2048, "Could not revert VM 361 to snapshot 77, it does not exist."),
        (8192, "Cannot use DISK. DISK does not exist."),
    ],
    ConflictError: [
        (2048, "Could not attach a new disk to VM 81, wrong state HOTPLUG."),
        (2048, 'Error performing action "stop": This action is not available for state PENDING'),
        (2048, 'Error performing action "terminate": Could not terminate VM 8, wrong state BOOT.'),
        (2048, "Cannot resize a VM in state SUSPENDED"),
        (2048, "VM is not running in any host"),
        (2048, "Cannot acquire image 5, it is persistent and already in use"),
        (8192, "DISK 0: Cannot acquire image 5, it is persistent and already in use"),
        (16384, f"{IN_TEMPLATE}Cannot acquire image 5, it is persistent and already in use"),
        (2048, "Cannot acquire image 58, it is locked"),
        (2048, "Cannot acquire image 58, it is in state: DISABLED"),
        (2048, "Cannot delete image. There are 1 VMs using it."),
        (8192, "Image locked, use --force flag to remove the image. Force delete may leave some"),
        (8192, "Could not make image non-persistent: Image cannot be in state USED."),
        (8192, "Could not disable image: Image cannot be in state USED."),
        (8192, "VM has to be RUNNING, POWEROFF or SUSPENDED to save disks."),
        (16384, f"{NEW}Cannot clone image in state: USED"),
        (16384, f"{NEW}NAME is already taken by IMAGE 5."),
        (8192, "NAME is already taken by TEMPLATE 5."),
        (2048, "image cannot be renamed to v lower because it collides with image 7"),
    ],
    NotSupportedError: [(2048, 'Action "start" is not supported')],
    ServiceError: [
        (8192, "Parse error: syntax error, unexpected VARIABLE, expecting EQUAL at line 1"),
        (8192, "MEMORY attribute must be a positive integer value."),
        (8192, "Cannot parse image SIZE: Wrong number or missing SIZE attribute."),
        (8192, "Cannot get IP/MAC lease from virtual network 0."),
        (16384, f"{NEW}Unknown type "),
        (4096, "Incorrect filter_flag"),
    ],
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_refusal_is_an_error_of_its_kind(kind: type[ServiceError]) -> None:
    with Scripted({"x": [refused(f"[one.x] {text}", code) for code, text in KINDS[kind]]}) as one:
        engine = one.engine()
        for _, text in KINDS[kind]:
            with pytest.raises(ServiceError) as caught:
                engine.change("one.x", 1)
            assert type(caught.value) is kind, text
            assert text.strip() in caught.value.value
        engine.close()
