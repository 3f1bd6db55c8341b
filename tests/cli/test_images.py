"""The commands that read the Marketplace (config-and-cli 3.17)."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from canned import Canned
from click.testing import CliRunner
from invoked import done, refused, run

from stratuslab_libcloud.cli import images
from stratuslab_libcloud.cli.images import list_images, search_image, show_image
from stratuslab_libcloud.metadata import rdf
from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.sandbox.site import Sandbox

TTYLINUX, DEBIAN = "PAG0IrP3g8RVUUaDvFINgBAacn2", "JgIidmV_OIgMDxsywuT0As1qZnq"
UBUNTU = "APjG8p0u2xBKoUDRCMl2RMlKllm"
TABLE = f"""\
id                          os            arch   endorser        name
{TTYLINUX} ttylinux 14.0 x86_64 ada@example.org ttylinux 14.0
{DEBIAN} Debian 12     x86_64 bea@example.org Debian 12 (bookworm)
{UBUNTU} Ubuntu 24.04  x86_64 bea@example.org Ubuntu 24.04 « à jour »
"""
SHOWN = f"""\
Description: ttylinux 14.0, from the sandbox.
ID: {TTYLINUX}
Creator: Ada Builder
Created at: 2025-04-02 09:55:00
Validity: 2099-01-01 00:00:00
OS: ttylinux 14.0 | Arch: x86_64
Version: 1.0
Compression: gz
Location: https://images.example.org/ttylinux-14.0.qcow2.gz
Format: qcow2
Publisher: Example Org
Hypervisor: kvm
Endorser: ada@example.org
SHA-1 f006d08acfde0f1155451a0ef14836004069c9f6
####

"""
BRIEF = f"""\
Description: ttylinux 14.0, from the sandbox.
ID: {TTYLINUX}
OS: ttylinux 14.0 | Arch: x86_64
Creator: Ada Builder
Created at: 2025-04-02 09:55:00
####

"""


def market(*entries: Entry) -> Canned:
    """A Marketplace that always answers with these."""
    documents = b"".join(
        rdf.write_entry(entry).partition(b"?>")[2]  # without the declaration
        for entry in entries
    )
    return Canned([(200, "application/xml", b"<metadata>" + documents + b"</metadata>")])


def of_details(names: Sequence[str], text: str) -> list[str]:
    """The values of these labels, as ``grep`` and ``sed`` took them out."""
    return [
        value
        for label, _, value in (line.partition(": ") for line in text.splitlines())
        if label in names
    ]


class TestList:
    def test_a_table(self, site: Sandbox) -> None:
        assert done(list_images, site) == TABLE

    def test_the_original_layout(self, site: Sandbox) -> None:
        shown = done(list_images, site, "--long")
        assert shown.startswith(BRIEF)
        assert of_details(["ID"], shown) == [TTYLINUX, DEBIAN, UBUNTU]
        assert "Description: Petit serveur généraliste, prêt à l'emploi. Pour les essais" in shown
        assert shown.count("\n####\n\n") == 3

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["--os", "debian"], [DEBIAN]),
            (["--os=Debian 12"], [DEBIAN]),
            (["--os", "deb"], []),
            (["--os", "*u*"], [TTYLINUX, UBUNTU]),
            (["--arch", "X86_64"], [TTYLINUX, DEBIAN, UBUNTU]),
            (["-a", "i486"], []),
            (["--endorser", "ada@example.org"], [TTYLINUX, DEBIAN]),
            (["-e", "bea@*", "--os", "ubuntu"], [UBUNTU]),
            (["BOOKWORM"], [DEBIAN]),
            (["essais", "à jour"], [UBUNTU]),
            ([TTYLINUX[:9]], [TTYLINUX]),
        ],
        ids=lambda value: " ".join(value) if value and len(value[0]) < 25 else "",
    )
    def test_some_of_them(self, site: Sandbox, words: list[str], found: list[str]) -> None:
        for command in (list_images, search_image):
            result = run(command, site, *words)
            assert result.exit_code == 0
            assert [line[:27] for line in result.stdout.splitlines()[1:]] == found
            assert result.stderr == ("" if found else "No image to show\n")
            assert json.loads(run(command, site, "--json", *words).stdout) == [
                shown
                for shown in json.loads(run(list_images, site, "--json").stdout)
                if shown["id"] in found
            ]

    def test_quietly_nothing(self, site: Sandbox) -> None:
        assert done(list_images, site, "-q", "--os=none") == ""

    def test_json(self, site: Sandbox) -> None:
        shown = json.loads(done(list_images, site, "--json"))
        assert [(one["id"], one["os"], one["endorsers"]) for one in shown] == [
            (TTYLINUX, "ttylinux", ["ada@example.org"]),
            (DEBIAN, "Debian", ["bea@example.org", "ada@example.org"]),
            (UBUNTU, "Ubuntu", ["bea@example.org"]),
        ]
        assert shown[0]["creator"] is None
        whole = json.loads(done(list_images, site, "--json", "--long"))
        assert whole[0]["creator"] == "Ada Builder"
        assert [set(one) for one in whole] == [set(one) for one in shown]

    @pytest.mark.parametrize(
        ("width", "columns"),
        [
            (200, ["id", "os", "arch", "endorser", "name"]),
            (90, ["id", "os", "arch", "endorser", "name"]),
            (80, ["id", "os", "arch", "name"]),
            (60, ["id", "os", "name"]),
            (40, ["id", "name"]),
        ],
    )
    def test_it_fits_the_terminal(
        self, site: Sandbox, monkeypatch: pytest.MonkeyPatch, width: int, columns: list[str]
    ) -> None:
        monkeypatch.setattr(images, "_width", lambda: width)
        lines = done(list_images, site).splitlines()
        assert lines[0].split() == columns
        assert [line[:27] for line in lines[1:]] == [TTYLINUX, DEBIAN, UBUNTU]
        assert max(map(len, lines)) <= width
        assert lines[3].endswith("..." if width < 80 else "« à jour »")


class TestSearch:
    def test_the_original_layout(self, site: Sandbox) -> None:
        header = "####\nOS FOUND\nEMAIL FOUND\n2 criteria match your search for this image\n####\n"
        words = ["--long", "--os=ttylinux", "--email=ada@example.org"]
        assert done(search_image, site, *words) == header + SHOWN
        header = "####\nCREATOR FOUND\n1 criterion matches your search for this image\n####\n"
        assert done(search_image, site, "--long", "--creator", "ada builder") == header + SHOWN

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["--creator=Ada Builder"], [TTYLINUX]),
            (["--creator", "ada"], []),
            (["--description", "ttylinux 14.0, from the sandbox."], [TTYLINUX]),
            (["-d", "*from the sandbox*"], [TTYLINUX, DEBIAN]),
            (["-d", "none", "--description_regexp", "[Ll]inux|serveur$"], [TTYLINUX]),
            (["--description_regexp=", "jour"], [UBUNTU]),
        ],
        ids=str,
    )
    def test_by_what_only_it_knows(self, site: Sandbox, words: list[str], found: list[str]) -> None:
        lines = run(search_image, site, *words).stdout.splitlines()
        assert [line[:27] for line in lines[1:]] == found


class TestShow:
    def test_the_original_layout(self, site: Sandbox) -> None:
        assert done(show_image, site, TTYLINUX) == SHOWN

    def test_every_endorser(self, site: Sandbox) -> None:
        shown = done(show_image, site, DEBIAN)
        assert of_details(["Endorser", "Creator"], shown) == [
            "Béatrice Packer",
            "bea@example.org",
            "ada@example.org",
        ]

    def test_json(self, site: Sandbox) -> None:
        (shown,) = json.loads(done(show_image, site, "--json", UBUNTU))
        assert (shown["id"], shown["name"]) == (UBUNTU, "Ubuntu 24.04 « à jour »")
        assert shown["inbound_ports"] == [22]

    def test_what_an_entry_does_not_say_is_left_out(self) -> None:
        checksums = {"MD5": "aaa", "SHA-1": "bbb"}
        one = Entry(identifier("0" * 40), checksums=checksums, os_arch="i486", locations=("a", "b"))
        with market(one) as server:
            result = CliRunner().invoke(
                show_image, ["--marketplace-endpoint", server.url, one.identifier]
            )
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            f"ID: {one.identifier}\nArch: i486\nLocation: a\nLocation: b\n"
            "MD5 aaa\nSHA-1 bbb\n####\n\n"
        )


def test_texts_of_strangers_cannot_command_the_terminal() -> None:
    one = Entry(
        identifier("1" * 40),
        os="\u202exunil",
        endorser="a" * 500,
        title="two\nlines",
        description="first\n####\nID: faked\u009b31m",
    )
    with market(one) as server:
        for words in ([], ["--long"]):
            result = CliRunner().invoke(list_images, ["--marketplace-endpoint", server.url, *words])
            assert result.exit_code == 0
            assert result.stdout.replace("\n", "").isprintable()
            if words:
                assert result.stdout.splitlines() == [
                    "Description: first #### ID: faked 31m",
                    f"ID: {one.identifier}",
                    "OS:  xunil",
                    "####",
                    "",
                ]
            else:
                assert len(result.stdout.splitlines()) == 2


class TestMarketplace:
    """Which one is asked; a login, and even a file, is not needed for it."""

    def test_the_option_the_variable_and_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "my.cfg"
        one = Entry(identifier("2" * 40), title="mine")
        with market(one) as server:
            file.write_text(f"[default]\nmarketplace_endpoint = {server.url}/of/file\n")
            file.chmod(0o600)
            for command, words, path in (
                (list_images, [], "/metadata"),
                (search_image, ["mine"], "/metadata"),
                (show_image, [one.identifier], f"/metadata/{one.identifier}"),
            ):
                del server.requests[:]
                words = ["-c", str(file), *words]
                assert CliRunner().invoke(command, words).exit_code == 0
                with monkeypatch.context() as patch:
                    patch.setenv("STRATUSLAB_MARKETPLACE_ENDPOINT", f"{server.url}/of/variable")
                    assert CliRunner().invoke(command, words).exit_code == 0
                    words += ["--marketplace-endpoint", f"{server.url}/of/option/"]
                    assert CliRunner().invoke(command, words).exit_code == 0
                assert [request.path for request in server.requests] == [
                    f"/of/{place}{path}" for place in ("file", "variable", "option")
                ]
                assert not any("Authorization" in one.headers for one in server.requests)

    def test_there_is_nothing_in_it(self) -> None:
        with Canned([(404, "application/xml", b"<error>nothing</error>")]) as server:
            result = CliRunner().invoke(list_images, ["--marketplace-endpoint", server.url])
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "No image to show\n"

    @pytest.mark.parametrize(
        ("status", "command", "words", "text"),
        [
            (2, search_image, [], "Specify search criteria (see stratus-search-image --help)"),
            (2, search_image, ["--description_regexp=("], "--description_regexp: missing )"),
            (2, show_image, [], "Specify image to show"),
            (2, show_image, ["a", "b"], "Only specify one image to show"),
            (2, list_images, ["--o"], "--o"),
            (2, list_images, ["--creator=x"], "o such option"),
            (1, show_image, ["tt"], "'tt' is not the identifier of an image"),
            (1, show_image, ["A" * 27], f"there is no current image {'A' * 27}"),
            (1, list_images, ["-S", "nowhere"], "[nowhere]"),
            (1, list_images, ["-c", "/no/such.cfg"], "/no/such.cfg"),
        ],
        ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
    )
    def test_what_is_refused(
        self, status: int, command: click.Command, words: list[str], text: str
    ) -> None:
        with Canned([(404, "application/xml", b"<error>nothing</error>")]) as server:
            assert text in refused(status, command, "--marketplace-endpoint", server.url, *words)

    def test_nobody_answers(self) -> None:
        with Canned([]) as server:
            url = server.url
        line = refused(1, list_images, "--marketplace-endpoint", url)
        assert url in line
        assert "refused" in line


def test_a_pipe_has_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert images._width() == sys.maxsize
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert images._width() == 30
