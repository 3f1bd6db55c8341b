"""The life of an image that somebody endorses, up to a machine that runs."""

import time
from pathlib import Path

import pytest
import requests
from canned import Canned
from click.testing import CliRunner
from clouds import KEY, configured
from endorsers import certified, pkcs12_file
from machines import real_sandbox, still, wait_for

from stratuslab_libcloud.cli.metadata import (
    build_metadata,
    deprecate_metadata,
    sign_metadata,
    upload_metadata,
)
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import NotFoundError, UntrustedImageError
from stratuslab_libcloud.metadata.signature import verify


def test_it_is_built_signed_published_started_and_deprecated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_file = still(tmp_path)
    monkeypatch.chdir(tmp_path)
    ada = certified("P-256", email="ada@example.org")
    file = (200, "application/octet-stream", image_file.read_bytes())
    with Canned([file]) as web, real_sandbox(tmp_path / "site") as site:
        path = configured(
            site,
            tmp_path,
            trusted_endorsers=ada.certificate.fingerprint,
            p12_certificate=pkcs12_file(tmp_path / "ada.p12", ada),
            p12_password="geheim",
        )
        driver = StratusLabNodeDriver(stratuslab_user_config=path)
        size, others = driver.list_sizes()[0], driver.list_images()
        described = ["--os", "none", "--location", f"{web.url}/still.raw"]
        words = ["-c", str(path)]
        manifest = "none---base-.xml"
        done = CliRunner().invoke(build_metadata, [*described, image_file.name])
        assert done.stdout == f"Manifest: {manifest}\n"
        assert CliRunner().invoke(sign_metadata, [*words, manifest]).output == ""
        address = CliRunner().invoke(upload_metadata, [*words, manifest]).stdout.strip()
        ids = {one.id for one in others}
        (image,) = [one for one in driver.list_images() if one.id not in ids]
        with pytest.raises(UntrustedImageError):
            driver.create_node("n", size, others[0], auth=KEY)
        node = driver.create_node("n", size, image, auth=KEY)
        wait_for(lambda: driver.ex_get_node(str(node.id)).state == "running", "it does not run")
        (listed,) = driver.list_nodes()
        assert listed.extra["disks"][0]["source"] == address
        driver.destroy_node(node)
        time.sleep(1.1)  # dates are in seconds, and a new entry of the same one replaces the old
        owner = ["--email", "ada@example.org"]
        assert CliRunner().invoke(deprecate_metadata, [*words, *owner, image.id]).exit_code == 0
        assert {one.id for one in driver.list_images()} == ids
        with pytest.raises(NotFoundError):
            driver.get_image(image.id)
        answer = requests.get(address, headers={"Accept": "application/xml"}, timeout=30)
        assert verify(answer.content).valid
        driver.ex_close()
