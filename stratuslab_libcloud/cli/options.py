"""
What all commands have in common: their options, and how they end (config-and-cli 3.1 to 3.3).

A value comes from the command line, the environment, the configuration file or its default, in
this order (guide 4.5). Groups of options here are put on a command by :func:`command`.
"""

import errno
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from stratuslab_libcloud import __version__, errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.abbreviations import in_full
from stratuslab_libcloud.configuration.options import TABLE

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud
    from stratuslab_libcloud.configuration.settings import Settings
    from stratuslab_libcloud.metadata.keys import SigningKey

__all__ = [
    "ENDPOINT",
    "FILE",
    "JSON",
    "LOGIN",
    "MARKETPLACE",
    "P12",
    "PAT",
    "STORAGE",
    "Command",
    "Given",
    "command",
    "pass_given",
    "seconds",
    "setting",
    "shown_examples",
]

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

DONE, MISUSED, INTERRUPTED = 0, 2, 130
FILE = click.Path(readable=False)
"""The name of a file, for shells to complete; it is not checked before it is read."""


@dataclass
class Given:
    """
    What the options that commands share say.

    :ivar options: keys of the configuration file, and what counts more than the file.
    :ivar pat: whether port translation was asked for; ``None`` where a command has no such option.
    :ivar json: whether the result is for programs.
    """

    config: str | None = None
    section: str | None = None
    verbose: int = 0
    quiet: int = 0
    options: dict[str, str] = field(default_factory=dict)
    pat: bool | None = None
    json: bool = False

    def cloud(self, needs: Literal["compute", "storage", "marketplace"] = "compute") -> "Cloud":
        """
        The cloud that a command is about; nothing is sent. A missing password is asked for.

        :param needs: the service that cannot do without an endpoint; the Marketplace has one.
        :raises click.ClickException: there is no such endpoint.
        """
        from stratuslab_libcloud import connect

        section = self.section or None
        cloud = connect(self.config, section, options=self.options)
        settings = cloud.settings
        if needs == "compute" and not settings.endpoint:
            raise click.ClickException(
                "Missing cloud endpoint. Please provide --endpoint, or edit the configuration file "
                "that stratus-copy-config puts in place"
            )
        if needs == "storage" and not settings.pdisk_endpoint and not _keeps_disks(settings):
            raise click.ClickException(
                "Missing persistent disk endpoint. Please provide --pdisk-endpoint"
            )
        username = settings.options.username
        login = settings.storage_credentials if needs == "storage" else settings.credentials
        if needs != "marketplace" and not login and username and _interactive():
            where = settings.endpoint or settings.pdisk_endpoint
            password = click.prompt(
                f"'{username}' at '{where}' password", hide_input=True, err=True
            )
            cloud = connect(self.config, section, options={**self.options, "password": password})
        translated = settings.options.port_translation.lower() in ("true", "yes", "on", "1")
        if self.pat or (translated and self.pat is not None):
            output.warning(
                "port translation (PAT) is not supported: addresses and ports are those of the "
                "machines themselves"
            )
        return cloud

    def signing_key(self) -> "SigningKey":
        """
        Read the key to sign metadata with. A missing password is asked for.

        :raises ConfigurationError: as for :func:`.signing_key`.
        """
        from stratuslab_libcloud.configuration.signing import signing_key

        options = self.cloud("marketplace").settings.options
        password = options.p12_password
        if not password and _interactive():
            where = options.p12_certificate or "the PKCS12 file"
            password = click.prompt(
                f"password of {where}", hide_input=True, err=True, default="", show_default=False
            )
        return signing_key(options.p12_certificate, password)

    def say(self, text: str) -> None:
        """A detail, for ``-v``."""
        if self.verbose and not self.quiet:
            output.note(text)


pass_given = click.make_pass_decorator(Given, ensure=True)


def _keeps_disks(settings: "Settings") -> bool:
    """Whether the location is an OpenNebula, which keeps disks itself."""
    from stratuslab_libcloud.configuration import endpoints

    return settings.options.dialect == "opennebula" or endpoints.is_engine(settings.endpoint)


class Command(click.Command):
    """A command that ends as all do: what went wrong is one line on standard error."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, but a long option can be cut short while no other begins like it."""
        try:
            args = in_full(args, self.get_params(ctx))
        except click.UsageError:
            if not ctx.resilient_parsing:  # the line is still being typed
                raise
        return super().parse_args(ctx, args)

    def main(  # type: ignore[override] # only what it takes, not what that makes it return
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """As click's; the callback may return an exit status."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            with _warnings_told():
                status = super().main(args, standalone_mode=False, **extra)
        except click.UsageError as error:
            output.error(f"{error.format_message()} (see {self.name} --help)")
            status = MISUSED
        except click.ClickException as error:
            output.error(error.format_message())
            status = error.exit_code
        except click.Abort:
            output.error("interrupted")
            status = INTERRUPTED
        sys.exit(status if isinstance(status, int) else DONE)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's; what can be expected to fail becomes one line, a bug keeps its traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, errors.StratusLabError):
                reason = str(error)
            elif isinstance(error, OSError) and error.errno not in (None, errno.EPIPE):
                reason = ": ".join(filter(None, (str(error.filename or ""), error.strerror)))
            else:
                raise
            if ctx.ensure_object(Given).verbose > 2:
                traceback.print_exc()
            raise click.ClickException(reason) from error


def command(
    name: str, *groups: Sequence[click.Option], examples: Sequence[str]
) -> Callable[[Callable[..., Any]], Command]:
    """
    Make a function a command; its docstring is the help text.

    :param groups: options that it shares with others, beside those of all.
    :param examples: command lines for the help text, without the ``$``.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        made = click.command(
            name,
            cls=Command,
            options_metavar="[options]",
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            epilog=shown_examples(*examples),
        )(function)
        made.params += [option for group in (*groups, _COMMON) for option in group]
        return made

    return decorate


def shown_examples(*lines: str) -> str:
    """Write command lines as the end of a help text."""
    return "\n".join(["\b", "Examples:", *(f"  $ {line}" for line in lines)])


def setting(key: str, *names: str, metavar: str, text: str) -> click.Option:
    """An option that counts instead of what the configuration file says."""
    variable = TABLE[key].variable
    return click.Option(
        [key, *names],
        type=FILE if metavar == "FILE" else None,
        metavar=metavar,
        help=f"{text}  [${variable}]" if variable else text,
        expose_value=False,
        callback=_keep_option,
    )


def seconds(
    name: str, default: int, text: str, *, min_open: bool = False
) -> Callable[[_Decorated], _Decorated]:
    """An option that says how long to wait; 0 is allowed unless ``min_open``."""
    return click.option(
        name,
        type=click.FloatRange(0, min_open=min_open),
        default=float(default),
        metavar="SECONDS",
        help=f"{text}  [default: {default}]",
    )


def _keep_option(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value and option.name:
        ctx.ensure_object(Given).options[option.name] = value


def _keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
    if option.name:
        setattr(ctx.ensure_object(Given), option.name, value)


def _kept(*names: str, **more: Any) -> click.Option:
    """An option that is a field of :class:`Given`."""
    return click.Option(names, expose_value=False, callback=_keep, **more)


def _ignored(*names: str, **more: Any) -> click.Option:
    """An option that old scripts give, and that changes nothing."""
    return click.Option(names, expose_value=False, **more)


ENDPOINT = (setting("endpoint", "--endpoint", metavar="URL", text="The cloud: a URL or a host."),)
LOGIN = (
    setting("username", "-u", "--username", metavar="NAME", text="The name of your account."),
    setting(
        "password",
        "-p",
        "--password",
        metavar="PASSWORD",
        text="Its password, which others on this computer can see here; better in the file, in the "
        "variable, or typed when it is asked for.",
    ),
    setting("pem_certificate", "--pem-cert", metavar="FILE", text="A certificate to log in with."),
    setting("pem_key", "--pem-key", metavar="FILE", text="The key of that certificate."),
)
STORAGE = (
    setting(
        "pdisk_endpoint",
        "--pdisk-endpoint",
        metavar="URL",
        text="The persistent disk service: a URL or a host.",
    ),
    setting(
        "pdisk_username",
        "--pdisk-username",
        metavar="NAME",
        text="The name of an account there, if it is another.",
    ),
    setting(
        "pdisk_password",
        "--pdisk-password",
        metavar="PASSWORD",
        text="Its password; as with --password, the file or the variable is a better place.",
    ),
)
MARKETPLACE = (
    setting(
        "marketplace_endpoint",
        "--marketplace-endpoint",
        metavar="URL",
        text="The Marketplace of images.",
    ),
)
P12 = (
    setting(
        "p12_certificate",
        "--p12-cert",
        metavar="FILE",
        text="The PKCS12 file with the certificate and key to sign with.",
    ),
    setting(
        "p12_password",
        "--p12-password",
        metavar="PASSWORD",
        text="Its password, which others on this computer can see here; better in the file, in the "
        "variable, or typed when it is asked for.",
    ),
)
PAT = (
    _kept("pat", "--pat-enable", is_flag=True, help="Accepted, but not supported."),
    _ignored("--pat-service-host", metavar="HOST", help="Accepted; changes nothing."),
    _ignored("--pat-gateway-host", metavar="HOST", help="Accepted; changes nothing."),
)
JSON = (_kept("--json", is_flag=True, help="Print the result as JSON."),)
CONFIG = (
    _kept(
        "-c",
        "--config",
        type=FILE,
        metavar="FILE",
        help="The configuration file.  [default: ~/.stratuslab/stratuslab-user.cfg]",
    ),
    _kept(
        "section",
        "-S",
        "--user-config-section",
        metavar="SECTION",
        help=f"Its section to use.  [${TABLE['selected_section'].variable}]",
    ),
)
_COMMON = (
    *CONFIG,
    _kept("-v", "--verbose", count=True, help="Say more; may be repeated."),
    _kept("-q", "--quiet", count=True, help="Say less."),
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        help="Show the version and exit.",
        callback=lambda ctx, _option, value: _show_version(ctx, value),
    ),
)


def _show_version(ctx: click.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(__version__)
        ctx.exit()


def _interactive() -> bool:
    return sys.stdin.isatty()


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Warnings, which libraries give to programmers, are for users here."""

    def show(message: Warning | str, *_args: object, **_more: object) -> None:
        output.warning(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield
