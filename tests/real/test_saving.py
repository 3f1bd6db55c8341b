"""A real machine becomes an image, and machines of that image have what was written to it."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from clouds import configured
from endorsers import certified, pkcs12_file
from libcloud.compute.base import NodeImage
from machines import real_sandbox, ssh, wait_for

from stratuslab_libcloud import NewImage
from stratuslab_libcloud.cli.creation import create_image
from stratuslab_libcloud.cli.instances import shutdown_instance
from stratuslab_libcloud.cli.metadata import sign_metadata, upload_metadata, validate_metadata
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import UntrustedImageError
from stratuslab_libcloud.sandbox.site import Sandbox

MARK = "written-before-it-was-saved"
# A sandbox that never comes to record what it has saved.
STUCK = """
import pathlib, sys, time
from stratuslab_libcloud.cli.sandbox import main
from stratuslab_libcloud.sandbox.saving import SavedImages
def record(*_):
    pathlib.Path(sys.argv[3], "saving").touch()
    time.sleep(3600)
SavedImages._record = record
main()
"""
SECONDS = 900  # a hang guard: it takes 30 on an idle machine


def standard(driver: StratusLabNodeDriver) -> NodeImage:
    return next(one for one in driver.list_images() if str(one.name).startswith("standard"))


@pytest.mark.timeout(1200)
@pytest.mark.early
def test_it_is_saved_endorsed_for_good_and_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ada = certified("P-256", email="ada@example.org")
    with real_sandbox(tmp_path / "site") as site:
        trusted = f"{trusted_by(site)},{ada.certificate.fingerprint}"
        path = configured(
            site,
            tmp_path,
            trusted_endorsers=trusted,
            p12_certificate=pkcs12_file(tmp_path / "ada.p12", ada),
            p12_password="geheim",
        )
        words = ["-c", str(path)]
        driver = StratusLabNodeDriver(stratuslab_user_config=path)
        size = driver.list_sizes()[0]
        described = ["--title", "With a mark", "--comment", "It has a mark.", "--author", "Ada"]
        described += ["--author-email", "ada@example.org", "--image-version", "1.1"]
        asked = ["-q", "-t", "t1.micro", "--save", *described, str(standard(driver).id)]
        done = CliRunner().invoke(run_instance, [*words, *asked])
        assert done.exit_code == 0, done.output
        vm_id = done.stdout.partition(",")[0]
        node = driver.ex_get_node(vm_id)
        ssh(site, node, f"echo {MARK} > /etc/mark")
        assert CliRunner().invoke(shutdown_instance, [*words, vm_id]).exit_code == 0
        image = driver.create_image(node, "With a mark", ex_timeout=SECONDS)
        assert list((tmp_path / "site" / "machines").iterdir()) == []
        with pytest.raises(UntrustedImageError):  # by a key that was thrown away
            driver.create_node("n", size, image)

        url = f"{site.url}/marketplace/metadata/{image.id}/ada@example.org/"
        url += str(image.extra["endorsed"])
        document = requests.get(url, headers={"Accept": "application/xml"}, timeout=30).text
        valid = re.compile(r"(?<=valid>)[^<]*")
        Path("mark.xml").write_text(valid.sub("2099-01-01T00:00:00Z", document))
        for command in (sign_metadata, validate_metadata, upload_metadata):
            done = CliRunner().invoke(command, [*words, "mark.xml"])
            assert done.exit_code == 0, done.output
        again = driver.create_node("again", size, driver.get_image(image.id))
        assert ssh(site, driver.ex_get_node(str(again.id)), "cat /etc/mark") == f"{MARK}\n"
        driver.destroy_node(again)
        driver.ex_close()


@pytest.mark.timeout(1200)
@pytest.mark.early
def test_create_image_runs_scripts_and_saves(tmp_path: Path) -> None:
    script = tmp_path / "set up.sh"
    script.write_text(f'#!/bin/sh\necho "{MARK} $1" > /etc/mark\n')
    with real_sandbox(tmp_path / "site") as site:
        path = configured(site, tmp_path, verify_images="off")
        driver = StratusLabNodeDriver(stratuslab_user_config=path)
        words = ["-c", str(path), "-q", "-t", "t1.micro", "--wait", "--title", "With a mark"]
        words += ["--comment", "c", "--author", "Ada", "--author-email", "ada@example.org"]
        words += ["--vm-start-timeout", "300", "--vm-ping-timeout", "300"]
        words += ["--scripts", f"'{script}' 'by $HOME'", str(standard(driver).id)]
        done = CliRunner().invoke(create_image, words)
        assert done.exit_code == 0, done.output
        image = driver.get_image(done.stdout.removeprefix("IMAGE ").strip())
        assert image.extra["version"] == "1.1"
        node = driver.create_node("again", driver.list_sizes()[0], image)
        assert ssh(site, driver.ex_get_node(str(node.id)), "cat /etc/mark") == f"{MARK} by $HOME\n"
        driver.destroy_node(node)
        driver.ex_close()


@pytest.mark.timeout(1200)
@pytest.mark.early
def test_kill_9_in_a_save(tmp_path: Path) -> None:
    site_dir = tmp_path / "site"
    with real_sandbox(site_dir):
        pass  # the image is built, or the test is skipped
    command = [sys.executable, "-c", STUCK, "up", "--dir", str(site_dir), "--port", "0"]
    with subprocess.Popen(
        [*command, "--machines", "qemu"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert any(line.startswith("ready") for line in process.stdout)
            with driven(site_dir / "stratuslab-user.cfg") as driver:
                save_as = NewImage("With a mark", "It has a mark.", "Ada", "ada@example.org")
                size, image = driver.list_sizes()[0], standard(driver)
                node = driver.create_node("n", size, image, ex_save_as=save_as)
                ssh(site_dir, driver.ex_get_node(str(node.id)), f"echo {MARK} > /etc/mark; sync")
                driver.ex_shutdown_node(node)
                wait_for((site_dir / "saving").exists, "it is not saved", SECONDS)
                assert driver.ex_get_node(str(node.id)).extra["lcm_state"] == 11
                assert driver.list_volumes() == []
        finally:
            process.kill()
    (half,) = (site_dir / "disks").iterdir()
    with real_sandbox(site_dir) as site:
        path = configured(site, tmp_path, verify_images="off")
        with driven(path) as driver:
            node = driver.ex_get_node(str(node.id))
            image = driver.create_image(node, "With a mark", ex_timeout=SECONDS)
            (disk,) = (site_dir / "disks").iterdir()
            assert disk != half
            again = driver.create_node("again", driver.list_sizes()[0], image)
            shown = ssh(site, driver.ex_get_node(str(again.id)), "cat /etc/mark")
            assert shown == f"{MARK}\n"
            driver.destroy_node(again)


@contextlib.contextmanager
def driven(path: Path) -> Iterator[StratusLabNodeDriver]:
    driver = StratusLabNodeDriver(stratuslab_user_config=path)
    yield driver
    driver.ex_close()


def trusted_by(site: Sandbox) -> str:
    text = site.config_path.read_text()
    found = re.search(r"^trusted_endorsers = (.*)$", text, re.M)
    assert found is not None
    return found[1]
