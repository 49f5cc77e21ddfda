"""``wanmi account …``: people and channels from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from api.door import CityOption, opened, show

accounts = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
AccountName = Annotated[str, typer.Argument(help="Name of the account.")]


@accounts.callback()
def frame() -> None:
    """People and channels that may log in or report.

    管理账号。

    Example: wanmi account list
    """


@accounts.command("add")
def add_account(
    context: typer.Context,
    name: AccountName,
    role: Annotated[list[str], typer.Option(help="Role; may be given again. docs/accounts.md lists them.")],
    unit: Annotated[str | None, typer.Option(help="Code of the person's unit.")] = None,
    collector: Annotated[str | None, typer.Option(help="For the role collector: code of the collector.")] = None,
    channel: Annotated[str | None, typer.Option(help="For the role channel: public (hotline), web or video.")] = None,
    display: Annotated[str | None, typer.Option(help="Name shown to people.")] = None,
    display_en: Annotated[str | None, typer.Option(help="The same in English, if it differs.")] = None,
    city: CityOption = None,
) -> None:
    """Make an account; its password is made up and shown once (channels have none, only tokens).

    新建账号;密码自动生成并仅显示一次(渠道账号无密码,只用令牌)。

    Example: wanmi account add zhang.san --role dispatcher --display 张三
    """
    from api.logins import new_password
    from layers.accounts import add_account as add

    password = None if channel is not None else new_password()
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        add(
            conn,
            name,
            roles=role,
            unit_code=unit,
            collector_code=collector,
            channel=channel,
            display_zh=display,
            display_en=display_en or display,
            password=password,
        )
    without = (
        f"no password; make a token: wanmi account token {name}",
        f"无密码;请用 wanmi account token {name} 生成令牌",
    )
    print(f"{name}  {password or without[context.obj.language == 'zh']}")


@accounts.command("collector")
def set_collector(
    context: typer.Context,
    name: AccountName,
    code: Annotated[str, typer.Argument(help="Code of the collector.")],
    city: CityOption = None,
) -> None:
    """Say which collector a person is: tasks on site go to collectors.

    指定账号对应的信息监督员。

    Example: wanmi account collector collector K001
    """
    from layers.accounts import set_collector as set_new

    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        set_new(conn, name, code)
    print(f"{name}  {code}")


@accounts.command("list")
def list_accounts(context: typer.Context, city: CityOption = None) -> None:
    """List all accounts with their roles, units and tokens.

    列出全部账号及其角色、单位与令牌数。

    Example: wanmi account list
    """
    from api.logins import account_lines

    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        show(account_lines(conn), context.obj)


@accounts.command("token")
def add_token(
    context: typer.Context,
    name: AccountName,
    days: Annotated[float, typer.Option(help="How long it is taken.")] = 365,
    city: CityOption = None,
) -> None:
    """Make a token for a program and show it once: it is sent as 'Authorization: Bearer TOKEN'.

    为程序生成令牌,仅显示一次。

    Example: wanmi account token channel-web --days 30
    """
    from layers.accounts import add_token as add

    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        token = add(conn, name, days=days)
    print(token)


@accounts.command("password")
def set_password(context: typer.Context, name: AccountName, city: CityOption = None) -> None:
    """Give an account a new password, made up and shown once; its sessions and tokens end.

    重设密码,仅显示一次;原有会话与令牌随之失效。

    Example: wanmi account password zhang.san
    """
    from api.logins import new_password
    from layers.accounts import set_password as set_new

    password = new_password()
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        set_new(conn, name, password)
    print(f"{name}  {password}")


@accounts.command("disable")
def disable_account(context: typer.Context, name: AccountName, city: CityOption = None) -> None:
    """Disable an account at once: password, sessions and tokens; what it did keeps its name.

    立即停用账号。

    Example: wanmi account disable zhang.san
    """
    from layers.accounts import disable_account as disable

    with opened(context, city, loaded=True) as (engine, _, _, _), engine.begin() as conn:
        disable(conn, name)
    print(f"{name}  {'已停用' if context.obj.language == 'zh' else 'disabled'}")
