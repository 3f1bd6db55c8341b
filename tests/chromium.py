"""Debian's Chromium without a window, driven by its own driver."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["Person", "browsing"]

_ABSENT = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
_SECONDS = 120  # a hang guard
_BLOCKED = 2


class Person:
    """Somebody who looks at pages, and clicks."""

    def __init__(self, browser: Chrome, downloads: Path) -> None:
        self.browser = browser
        self.downloads = downloads

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return self.browser.find_element(By.TAG_NAME, "body").text

    @property
    def said(self) -> str:
        """What the page says has been done, or why it could not be."""
        return self.browser.find_element(By.CSS_SELECTOR, "[role=status], [role=alert]").text

    @property
    def heading(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "h1").text

    def visit(self, url: str, login: tuple[str, str] | None = None) -> None:
        """Open a page, for the first time with a name and a password."""
        if login:
            url = url.replace("://", f"://{':'.join(login)}@")
        self.browser.get(url)

    @contextlib.contextmanager
    def leaving(self) -> Iterator[None]:
        """Wait, after the block, until another page is there."""
        old = self.browser.find_element(By.TAG_NAME, "html")
        yield
        # Between two pages, the driver reports errors of all kinds.
        WebDriverWait(self.browser, _SECONDS, ignored_exceptions=[WebDriverException]).until(
            lambda browser: browser.find_element(By.TAG_NAME, "html") != old
        )

    def link(self, text: str) -> WebElement:
        return self.browser.find_element(By.PARTIAL_LINK_TEXT, text)

    def follow(self, text: str) -> None:
        """Click a link to another page."""
        with self.leaving():
            self.link(text).click()

    def press(self, text: str) -> None:
        """Press the button of a form."""
        with self.leaving():
            self.browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']").click()

    def field(self, label: str) -> WebElement:
        """The field with this label."""
        found = self.browser.find_element(By.XPATH, f"//label[normalize-space()='{label}']")
        return self.browser.find_element(By.ID, found.get_attribute("for") or "")

    def write(self, label: str, text: str) -> None:
        """Write into a field instead of what is in it."""
        field = self.field(label)
        field.clear()
        field.send_keys(text)


@contextlib.contextmanager
def browsing(folder: Path, *, scripts: bool = True) -> Iterator[Person]:
    """A browser of somebody's, who may have switched JavaScript off."""
    if _ABSENT and not os.environ.get("CI"):
        pytest.skip(f"there is no {' and no '.join(_ABSENT)} here")
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--window-size=1280,900", f"--user-data-dir={folder}/user"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium refuses to set up for root
    options.add_experimental_option(
        "prefs",
        {
            "download.default_directory": str(folder),
            "profile.managed_default_content_settings.javascript": 0 if scripts else _BLOCKED,
        },
    )
    home = folder / "home"  # it downloads nothing into a home directory itself
    home.mkdir()
    program = shutil.which("chromedriver") or "chromedriver"
    service = ChromeService(program, env={**os.environ, "HOME": str(home)})
    browser = Chrome(options, service)
    try:
        browser.set_page_load_timeout(_SECONDS)
        browser.implicitly_wait(_SECONDS)  # for a page that is still being read
        person = Person(browser, folder)
        person.visit("data:text/html,<p>off<script>document.body.textContent = 'on'</script>")
        assert person.text == ("on" if scripts else "off")
        yield person
    finally:
        browser.quit()
