"""One object of a series: its requests, what becomes of their failures, and its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from dataset_dl.engines.curl.causes import Failure, failure_of
from dataset_dl.engines.curl.large import LARGE_BYTES, Large
from dataset_dl.engines.curl.pool import Get
from dataset_dl.engines.curl.saving import GATHERED_BYTES, SMALL_BYTES, Differs, Excess, Small, Whole

if TYPE_CHECKING:
    from dataset_dl.engines.curl.fetching import Fetching, Series

# Not tried again at once: it may be a sign-in page.
_OTHER_LENGTH = Failure("truncated", "the store sent another number of bytes than it lists", False)
_CHANGED = Failure("altered", "the object was replaced while it was fetched", False)
_DIFFERS = Failure("altered", "what came differs from the store's checksum", True)


class Object:
    """One object to fetch.

    Parameters
    ----------
    fetching, series
        What it belongs to.
    name
        Its name, which is checked.
    size_bytes, etag
        As listed; None and empty if it was not listed.
    """

    __slots__ = (
        "_etag",
        "_fetching",
        "_is_over",
        "_large",
        "_name",
        "_series",
        "_sink",
        "_size_bytes",
        "_tries",
    )

    def __init__(
        self, fetching: Fetching, series: Series, name: str, size_bytes: int | None, etag: str
    ) -> None:
        self._fetching = fetching
        self._series = series
        self._name = name
        self._size_bytes = size_bytes
        self._etag = etag
        self._tries = 0
        self._is_over = False
        self._large: Large | None = None
        self._sink: Small | Whole | None = None

    @property
    def _path(self) -> str:
        return f"{self._series.directory}/{self._name}"

    @property
    def _url(self) -> str:
        task = self._series.task
        return f"{task.bucket_url}/{quote(task.prefix + self._name)}"

    def requests(self) -> Iterator[Get]:
        """Yield the requests for it, as there is room for them."""
        if self._series.is_lost:
            return
        try:
            self._series.make_directory()
            self._fetching.open.add(self)
            if self._size_bytes is not None and self._size_bytes >= LARGE_BYTES and self._etag:
                yield from self._pieces()
                return
            yield self._whole()
        except OSError as error:
            self._fail(Failure("disk", f"{error.strerror}: {error.filename}", False))

    def _whole(self) -> Get:
        kind = Whole if (self._size_bytes or 0) > SMALL_BYTES else Small
        self._sink = sink = kind(
            self._path, self._size_bytes, hashed=self._fetching.hashed, token=self._fetching.token
        )
        get = Get(self._url, sink.take, self._ended)
        if self._size_bytes is None:  # it was not listed
            get.reads_headers = True
            get.take = self._first_of(get)
        return get

    def _first_of(self, get: Get) -> Callable[[bytes], None]:
        """Return what takes the body of an object that was not listed: its headers say how large it is."""
        sink = self._sink
        assert sink is not None

        def take(chunk: bytes) -> None:
            if self._size_bytes is None:
                length = get.response.get("content-length", "")
                self._size_bytes = int(length) if length.isdigit() else -1
                self._etag = get.response.get("etag", "").strip('"')
                if self._size_bytes >= LARGE_BYTES and self._etag:
                    raise Excess
            sink.take(chunk)

        return take

    def _ended(self, get: Get) -> None:
        sink = self._sink
        assert sink is not None
        if self._series.is_lost:
            self._end()
            sink.drop()
            return
        if get.error is not None and (self._size_bytes or 0) >= LARGE_BYTES and not sink.received:
            self._fetching.first(self.requests())  # now that its size is known
            return
        expected = self._size_bytes
        if get.ok and expected in (None, -1, sink.received):
            self._save(sink)
            return
        sink.drop()
        self._again(get, _OTHER_LENGTH if get.ok else failure_of(get))

    def _pieces(self) -> Iterator[Get]:
        assert self._size_bytes is not None
        fetching = self._fetching
        self._large = large = Large(
            self._path, self._size_bytes, self._etag,
            hashed=fetching.hashed, boot=fetching.boot, token=fetching.token,
        )  # fmt: skip
        if self._series.is_lost:
            return
        missing = list(large.missing())
        if not missing:
            self._save(large)
        for piece in missing:
            if self._is_over or self._series.is_lost:
                large.close()
                return
            yield _Piece(self, large, piece).get()

    def piece_ended(self, get: Get, piece: _Piece) -> None:
        """Go on after a request for a piece has ended."""
        large = piece.large
        if self._is_over or self._series.is_lost or large is not self._large:
            return
        try:
            piece.flush()
            if piece.position == piece.end and (get.ok or get.error is None):
                if large.finish((piece.begin, piece.end)):
                    self._save(large)
                return
        except OSError as error:
            self._fail(Failure("disk", f"{error.strerror}: {self._path}", False))
            return
        if get.status == 412:
            large.drop()
            if large.present_bytes or piece.position > piece.begin:
                self._fail(_CHANGED)
            else:  # perhaps this store gives other ETags than it lists
                self._large, self._etag = None, ""
                self._fetching.first(self.requests())
            return
        failure = failure_of(get) if not get.ok else _OTHER_LENGTH
        if piece.has_moved:
            self._tries = 0
        self._again(piece.get(), failure)

    def abandon(self) -> None:
        """Remove what has come of it, unless another run can go on with it."""
        if self._large is not None:
            self._large.close()
        elif self._sink is not None:
            self._sink.drop()

    def _end(self) -> None:
        self._is_over = True
        self._fetching.open.discard(self)

    def _again(self, get: Get, failure: Failure) -> None:
        self._tries += failure.weight
        if failure.passing and self._fetching.postpone(get, self._tries):
            return
        self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._end()
        self.abandon()
        if failure.cause == "excess":
            if self._large is not None:
                self._large.drop()
            self._fetching.lose(self._series, failure.cause, failure.words)
            return
        self._fetching.tell.failed(self._series.task.key, failure.cause, failure.words)

    def _save(self, sink: Small | Whole | Large) -> None:
        size_bytes = sink.size_bytes if isinstance(sink, Large) else sink.received
        try:
            is_proven = sink.save() if isinstance(sink, Large) else sink.save(self._etag)
        except Differs:
            sink.drop()
            if isinstance(sink, Large):
                self._fail(_DIFFERS)
            else:
                self._again(self._whole(), _DIFFERS)
        except OSError as error:
            self._fail(Failure("disk", f"{error.strerror}: {self._path}", False))
        else:
            self._end()
            self._fetching.saved(self._series, self._path, size_bytes, proven=is_proven)


class _Piece:
    """A piece of a large object; a request that ends early goes on where it ended."""

    __slots__ = ("_began_at", "_chunks", "_object", "_waiting", "begin", "end", "large", "position")

    def __init__(self, owner: Object, large: Large, piece: tuple[int, int]) -> None:
        self._object = owner
        self.large = large
        self.begin, self.end = piece
        self.position = self._began_at = self.begin
        self._chunks: list[bytes] = []
        self._waiting = 0

    @property
    def has_moved(self) -> bool:
        """Whether the last request has brought anything."""
        return self.position > self._began_at

    def get(self) -> Get:
        """Return the request for what is missing of it."""
        self._began_at = self.position
        return Get(
            self._object._url,
            self.take,
            lambda get: self._object.piece_ended(get, self),
            byte_range=f"{self.position}-{self.end - 1}",
            headers=[f'If-Match: "{self.large.etag}"'],
        )

    def take(self, chunk: bytes) -> None:
        """Take bytes, and write them now and then."""
        if self.position + len(chunk) > self.end:
            raise Excess
        self.position += len(chunk)
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting >= GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        if self._chunks:
            self.large.write(self.position - self._waiting, self._chunks)
            self._chunks, self._waiting = [], 0
