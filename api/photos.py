"""Photos over HTTP: sent before the act that names them, shown without what the camera wrote into them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request, Response

from api.actshapes import SentPhoto
from api.answers import KEEP_A_DAY, kept, problems, tagged
from api.deps import InHouse, Who
from cases.photo import read_photo
from gis.db import query
from gis.errors import Forbidden, NotFound

router = APIRouter(tags=["workflow"])
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the photo as it was sent")]


@router.post("/photos", status_code=201, response_model=SentPhoto, responses=problems(413))
def send_photo(
    request: Request,
    house: InHouse,
    who: Who,
    content: Annotated[bytes, Body(media_type="application/octet-stream", description="JPEG, PNG or HEIC, 20 MiB")],
) -> Response:
    """Send a photo; an act then names it by its `sha256`. One that no act names is removed after some hours.

    Answered only when it is on disk. Tells when and where the camera says it was taken.
    """
    with house.begin_reading() as conn:
        actor = who.writer(conn)
    if actor.roles <= {"planner", "gis_editor"}:
        raise Forbidden(
            f"the account {actor.name} sends no photos",
            f"账号 {actor.name} 不能上传照片",
            mend="who reports or works on cases does",
            mend_zh="上报或处理案件的人员可上传",
        )
    photo = read_photo(content, zone=house.zone)
    house.photos.put(photo)
    row = {
        "sha256": photo.sha256,
        "media_type": photo.media_type,
        "width": photo.width,
        "height": photo.height,
        "bytes": len(content),
        "taken_at": photo.taken_at,
        "lon": photo.lon,
        "lat": photo.lat,
        "uploaded_by": actor.name,
    }
    with house.begin_writing() as conn:
        conn.execute(query("cases", "keep_photo"), row)
    data = {name: row[name] for name in ("sha256", "media_type", "width", "height", "bytes", "lon", "lat")}
    return tagged(request, SentPhoto, {**data, "taken_at": house.at(photo.taken_at)}, status=201, private=True)


@router.get(
    "/photos/{sha256}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
)
def show_photo(
    request: Request,
    house: InHouse,
    who: Who,
    sha256: Sha256,
    thumbnail: Annotated[bool, Query(description="small")] = False,
) -> Response:
    """A photo as JPEG, upright, without EXIF; of a case that the asker may see.

    Photos need an account also where reading is open.
    """
    with house.begin_reading() as conn:
        actor = who.writer(conn)
        seen = who.reader(conn)
        row = {"sha256": sha256, "unit_ids": None if seen is None else list(seen), "name": actor.name}
        if not conn.execute(query("cases", "photo_shown"), row).scalar_one():
            raise NotFound(
                f"there is no photo {sha256} of a case that you may see",
                f"没有您可查看的照片 {sha256}",
                mend="check its hash",
                mend_zh="请核对编号",
            )
    content = house.photos.read(sha256, "thumbnail" if thumbnail else "shown")
    tag = f'"{sha256[:20]}-{"t" if thumbnail else "s"}"'
    return kept(request, content, "image/jpeg", tag, cache=KEEP_A_DAY, private=True)
