"""Parts of a file on the workers of a Dask cluster: what answers rest on goes to each worker once.

A plugin brings it, so that a worker that was lost and comes again, or one that joins later, has it before its first
part. Parts are written by the workers, each whole or not at all, to a folder that all of them see; a lost worker costs
the parts that it was at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import distributed
from distributed import WorkerPlugin, get_worker

from cases.bulk import BulkReport, Plan, Progress, parts_there, warm, work_part
from cases.bulk_read import Part, Source
from cases.standing import Standing
from gis.errors import Invalid, Unavailable, WanmiError

_dask: Any = distributed  #: half of its functions say no types
NAME = "wanmi-standing"
RETRIES = 5  #: of a part whose worker is lost


class StandingPlugin(WorkerPlugin):
    """Brings the standing to a worker."""

    name = NAME

    def __init__(self, standing: Standing, plan: Plan) -> None:
        self.standing, self.plan = standing, plan

    def setup(self, worker: Any) -> None:
        """Keep it where parts find it."""
        warm(self.standing, self.plan)
        worker.wanmi_standing = self.standing


def _mark(dask_worker: Any) -> str | None:
    """Of the standing that a worker has from an earlier run, which the scheduler also gives to those that join."""
    standing = getattr(dask_worker, "wanmi_standing", None)
    return None if standing is None else str(standing.mark)


def _work(part: Part, plan: Plan) -> tuple[int, int]:
    return work_part(part, plan, get_worker().wanmi_standing)  # type: ignore[attr-defined]


def assign_on_cluster(
    source: Source, plan: Plan, standing: Standing, *, scheduler: str | None, progress: Progress
) -> BulkReport:
    """Assign the parts of a Parquet file or folder on a cluster; without an address on one of its own, a worker a core.

    Raises Invalid for other files, Unavailable where no scheduler or no worker answers.
    """
    if source.kind != "parquet":
        raise Invalid(
            f"{source.path.name} cannot be taken in parts by several machines",
            f"{source.path.name} 无法由多台机器分块处理",
            mend="write it as Parquet first: wanmi assign … --engine local writes one, or GeoPandas, DuckDB, GDAL do",
            mend_zh="请先转换为 Parquet（可用 GeoPandas、DuckDB 或 GDAL）",
            file=source.path,
        )
    warm(standing, plan)
    _ = standing.mark  # goes with it, so that no worker works it out
    cluster = None
    try:
        if scheduler is None:
            cluster = _dask.LocalCluster(threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0")
        client = _dask.Client(cluster or scheduler, timeout=20)
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            f"no scheduler answers at {scheduler}: {error}",
            f"调度器 {scheduler} 无响应",
            mend="start one: dask scheduler; and workers: dask worker tcp://HOST:8786",
            mend_zh="请先启动：dask scheduler，并用 dask worker tcp://主机:8786 启动工作进程",
            field="scheduler",
        ) from None
    try:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise Unavailable(
                f"the cluster at {scheduler} has no workers",
                f"集群 {scheduler} 没有工作进程",
                mend="dask worker tcp://HOST:8786 starts one",
                mend_zh="请用 dask worker tcp://主机:8786 启动",
                field="scheduler",
            )
        return _run(client, source, plan, standing, progress)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def _run(client: Any, source: Source, plan: Plan, standing: Standing, progress: Progress) -> BulkReport:
    done = parts_there(Path(plan.folder))
    report = BulkReport(there=len(done))
    report.rows, report.refused = (sum(count[n] for count in done.values()) for n in (0, 1))
    if set(client.run(_mark, on_error="return").values()) != {standing.mark}:
        client.register_plugin(StandingPlugin(standing, plan))
    started = time.monotonic()
    todo = [part for part in source.parts if part.number not in done]
    futures = client.map(_work, todo, plan=plan, pure=False, retries=RETRIES)
    for future in _dask.as_completed(futures):
        try:
            rows, refused = future.result()
        except WanmiError:
            client.cancel(futures)
            raise
        report.rows, report.refused = report.rows + rows, report.refused + refused
        progress(report.rows + report.refused, source.rows, time.monotonic() - started)
        future.release()
    report.seconds = time.monotonic() - started
    return report
