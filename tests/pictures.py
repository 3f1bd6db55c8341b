"""Make the documentation's pictures of the pages again: ``python tests/pictures.py``."""

import base64
import tempfile
import urllib.parse
from pathlib import Path

from chromium import Person, browsing
from machines import real_sandbox, ssh

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
USERS = {"maria": "Geheim007", "joerg": "Geheim008"}
WIDTH = 900  # pixels
TITLES = "PREFIX t: <http://purl.org/dc/terms/>\nSELECT ?title ?valid {\n" + (
    "  ?entry t:title ?title ; t:valid ?valid\n} ORDER BY ?title"
)
MARKETPLACE = {
    "images": "metadata?sSearch_1=debian",
    "entry": "metadata/JgIidmV_OIgMDxsywuT0As1qZnq/bea@example.org/2025-03-05T10:00:00Z",
    "endorsers": "endorsers",
    "endorser": "endorsers/ada@example.org",
    "query": "query?" + urllib.parse.urlencode({"query": TITLES}),
    "upload": "upload",
}


def furnish(site: Sandbox) -> dict[str, str]:
    """Put machines and disks into a site; return the pages to take, by their pictures' names."""
    maria, joerg = (
        StratusLabNodeDriver(
            stratuslab_user_config=site.config_path, stratuslab_default_location=location
        )
        for location in (location_of(site, user) for user in USERS)
    )
    size = maria.list_sizes()[0]
    image = next(image for image in maria.list_images() if image.name.startswith("standard"))
    nodes = [maria.create_node(name=name, size=size, image=image) for name in ("survey", "web")]
    maria.wait_until_running(nodes, wait_period=0.2)
    for node in nodes:
        ssh(site, node, "true")
    results = maria.create_volume(20, "survey 2014")
    maria.create_volume(5, "scratch", ex_visibility="public")
    joerg.create_volume(100, "reference data", ex_visibility="public")
    maria.attach_volume(nodes[0], results)
    maria.ex_close()
    joerg.ex_close()
    return {
        "storage": "pswd/storage",
        "disk": f"pswd/storage/{results.id}",
        "machines": "pswd/machines",
        "machine": f"pswd/machines/{nodes[0].id}",
    }


def location_of(site: Sandbox, user: str) -> str:
    """The section of the configuration file that logs this user in."""
    before = site.config_path.read_text().partition(f"\nusername = {user}\n")[0]
    return before.rpartition("[")[2].partition("]")[0]


def take(person: Person, file: Path, width: int = WIDTH, scheme: str = "light") -> None:
    """Take a picture of the whole page that somebody sees."""
    browser = person.browser
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 500, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}
    )
    file.write_bytes(base64.b64decode(shot["data"]))


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, real_sandbox(users=USERS) as site:
        pages = furnish(site)
        with browsing(Path(folder)) as person:
            person.visit(site.pages_url + "pswd/storage", ("maria", USERS["maria"]))
            for name, path in pages.items():
                person.visit(site.pages_url + path)
                take(person, PICTURES / f"{name}.png")
    marketplace()


def marketplace() -> None:
    """Take those of the Marketplace, with its examples."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox() as site,
        browsing(Path(folder)) as person,
    ):
        for name, path in MARKETPLACE.items():
            person.visit(f"{site.url}/marketplace/{path}")
            take(person, PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
