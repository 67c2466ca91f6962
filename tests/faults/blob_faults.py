"""Faults of what lies in the store: blobs that a job at work still needs vanish or rot."""

from __future__ import annotations

import io
import time
from random import Random

from minio import Minio

from app.domain.errors import CorruptBlobError, NotFoundError
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, canvas_key, next_of_image, work_of
from app.jobs import present_keys
from tests.faults.nemesis import MissedError, Nemesis
from tests.faults.renderer import inputs_of

_DIGEST = "x-amz-meta-sha256"


class _OfABlob(Nemesis):
    """Hurts a tile that is stored and not merged yet, or what the next units are made of."""

    subject = "s3"  # must answer

    def blob(self, rng: Random) -> str:
        ledger, store = self.field.runtime.ledger, self.field.runtime.store
        for job_id in rng.sample(jobs := self.field.open_jobs(), len(jobs)):
            try:
                plan = ledger.plan(job_id)
            except NotFoundError:  # not planned yet
                continue
            if keys := sorted(_needed(plan, present_keys(store, plan))):
                return rng.choice(keys)
        raise MissedError("no job needed a blob that was there")


class BlobDeleted(_OfABlob):
    name = "blob-deleted"

    def inject(self, rng: Random) -> dict[str, object]:
        key = self.blob(rng)
        began_s = time.monotonic()
        self.field.runtime.store.delete(key)
        return {"key": key, "began_s": began_s}


class BlobRotten(_OfABlob):
    """The bytes change at rest; the checksum beside them does not."""

    name = "blob-rotten"

    def inject(self, rng: Random) -> dict[str, object]:
        key = self.blob(rng)
        try:
            data = bytearray(self.field.runtime.store.get(key))
        except CorruptBlobError as err:
            raise MissedError(f"{key} is rotten already") from err
        data[rng.randrange(len(data))] ^= 0xFF
        client, bucket = self._client()
        began_s = time.monotonic()
        digest = client.stat_object(bucket, key).metadata[_DIGEST]
        client.put_object(
            bucket, key, io.BytesIO(bytes(data)), len(data), metadata={_DIGEST: digest}
        )
        return {"key": key, "began_s": began_s}

    def _client(self) -> tuple[Minio, str]:
        chosen = self.field.ground.direct_settings()
        client = Minio(
            chosen.s3_endpoint,
            access_key=chosen.s3_access_key.get_secret_value(),
            secret_key=chosen.s3_secret_key.get_secret_value(),
            secure=False,
            region=chosen.s3_region,
        )
        return client, chosen.store_url.removeprefix("s3://")


def _needed(plan: RenderPlan, keys: set[str]) -> set[str]:
    following = [next_of_image(plan, image, keys) for image in range(plan.spec.count)]
    inputs = {key for group in following for work in group[:1] for key in inputs_of(plan, work)}
    return inputs & keys | _unmerged(plan, keys)


def _unmerged(plan: RenderPlan, keys: set[str]) -> set[str]:
    tiles: list[Work] = [
        work for group in work_of(plan) for work in group if work.stage is Stage.TILE
    ]
    return {
        key
        for work in tiles
        if (key := work.key(plan)) in keys
        and canvas_key(plan, work.image, work.phase + 1) not in keys
    }


BLOB_FAULTS: list[type[Nemesis]] = [BlobDeleted, BlobRotten]
