"""One family of errors with one JSON shape (RFC 9457, ``application/problem+json``).

Every error that a person can cause is a child of :class:`WanmiError`. The class says the situation (its
docstring is the English title, ``title_zh`` the Chinese one), ``status`` is its HTTP number, ``sqlstate`` the
code under which the database raises it. The instance says what is wrong in both languages, where, and what
would mend it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar


class WanmiError(Exception):
    """Wanmi could not do this."""

    title_zh: ClassVar[str] = "操作未能完成"
    status: ClassVar[int] = 500
    sqlstate: ClassVar[str | None] = None
    now: dict[str, Any] | None = None  #: the thing as it is, for who saw it otherwise

    def __init__(
        self, en: str, zh: str, *, mend: str | None = None, mend_zh: str | None = None, **where: object
    ) -> None:
        """``en``/``zh`` say what is wrong; ``mend`` what to do or type; ``where`` names file, row, field …"""
        super().__init__(en)
        self.en, self.zh = en, zh
        self.mend, self.mend_zh = mend, mend_zh or mend
        self.where = where

    def problem(self) -> dict[str, Any]:
        """The one JSON shape: type, title, status, detail, the same in Chinese, where, mend."""
        kind = type(self)
        return {
            "type": f"urn:wanmi:error:{kind.__name__}",
            "title": (kind.__doc__ or "").strip(),
            "title_zh": kind.title_zh,
            "status": kind.status,
            "detail": self.en,
            "detail_zh": self.zh,
            "where": {key: str(value) for key, value in self.where.items()},
            "mend": self.mend,
            "mend_zh": self.mend_zh,
            **({} if self.now is None else {"now": self.now}),
        }


class Unavailable(WanmiError):
    """The database or a part of the machine that Wanmi needs is not there."""

    title_zh = "数据库或所需部件不可用"
    status = 503


class UnfitSetting(WanmiError):
    """A setting cannot be used."""

    title_zh = "设置不可用"
    status = 500


class NotFound(WanmiError):
    """There is no such thing."""

    title_zh = "找不到"
    status = 404
    sqlstate = "WM404"


class Conflict(WanmiError):
    """It is not in the state in which this can be done, or someone else is at it."""

    title_zh = "状态冲突"
    status = 409
    sqlstate = "WM409"


class Invalid(WanmiError):
    """A value is not what it must be."""

    title_zh = "数值不合规"
    status = 422
    sqlstate = "WM422"


class UnfitCoordinates(Invalid):
    """The numbers of a place do not fit the coordinate system they are said to be in."""

    title_zh = "坐标与坐标系不符"


class UnfitFile(Invalid):
    """A file is missing, cannot be read, or does not hold what it must."""

    title_zh = "文件不可用"


def unfit(path: Path, en: str, zh: str, *, mend: str, mend_zh: str, **where: object) -> UnfitFile:
    """UnfitFile about a file; ``en``/``zh`` continue "NAME …"."""
    return UnfitFile(f"{path.name} {en}", f"{path.name} {zh}", mend=mend, mend_zh=mend_zh, file=path, **where)


def unreadable(path: Path, why: object, why_zh: object = None) -> UnfitFile:
    """UnfitFile about a file that is broken or no file of its kind."""
    return unfit(
        path,
        f"cannot be read: {why}",
        f"无法读取：{why_zh or why}",
        mend="a broken copy, or another format under this name; export it anew, a GeoPackage serves best",
        mend_zh="文件可能损坏，或文件名与实际格式不符；请重新导出，建议使用 GeoPackage",
    )


class NotAuthenticated(WanmiError):
    """It is not known who asks."""

    title_zh = "未登录或凭证无效"
    status = 401


class Forbidden(WanmiError):
    """This account may not do that."""

    title_zh = "无权执行此操作"
    status = 403


class NotAllowed(WanmiError):
    """This address does not take that method."""

    title_zh = "该地址不支持此方法"
    status = 405


class TooLarge(WanmiError):
    """More was sent or asked for than is taken at once."""

    title_zh = "超出单次允许的大小"
    status = 413


class TooSlow(WanmiError):
    """It took longer than a request may take."""

    title_zh = "请求超时"
    status = 408


class Defect(WanmiError):
    """Wanmi has a defect; what was asked was not done."""

    title_zh = "程序缺陷,请求未执行"
    status = 500


class Interrupted(WanmiError):
    """The work was interrupted; nothing is half done."""

    title_zh = "操作已中断"
    status = 503


def every_error() -> list[type[WanmiError]]:
    """The family: the base and all its descendants, in order of definition."""
    family, queue = [], [WanmiError]
    while queue:
        kind = queue.pop(0)
        family.append(kind)
        queue.extend(kind.__subclasses__())
    return family
