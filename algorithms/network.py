"""Carries requests through QGIS's network access manager: its proxies, certificates and authentication configurations count."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass

from qgis.core import QgsApplication, QgsNetworkAccessManager
from qgis.PyQt.QtCore import QObject, Qt, QThread, QUrl, pyqtSignal, pyqtSlot
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest

from ..inference.errors import RasterError
from ..inference.feedback import canceled
from ..inference.services.fetching import Answer, Sink, UnreachableError
from ..inference.translation import tr

LARGEST_BODY = 256 << 20
"""Bytes of an answer that is kept in memory."""
POLL_SECONDS = 0.2
WHOLE_OR_PART = (200, 206)
NUMBER = "dlpk_number"
"""Property of a reply that tells whose it is."""
TIMEOUT = 30_000
"""Milliseconds that a server may be silent."""
LONGEST_END = 5_000
"""Milliseconds that requests may take to end."""


_running: set[QThread] = set()
"""Threads that have not ended: Qt ends the process when one of them is destroyed."""


class Network:
    """A Transport with a thread of its own, in which all requests run side by side.

    It uses a manager of its own: QGIS's for a thread asks the main thread for a password when a server wants one, and waits
    for ever where that thread runs the algorithm itself, as in qgis_process.
    """

    def __init__(
        self, authcfg: str = "", headers: Mapping[str, str] | None = None, is_canceled: Callable[[], bool] = lambda: False
    ) -> None:
        """Start the thread.

        Args:
            authcfg: Authentication configuration of QGIS; empty for none.
            headers: Sent with all requests that may carry credentials, such as a layer's own referer or password.
            is_canceled: Asked now and then by those who wait.
        """
        self._authcfg, self._headers, self._is_canceled = authcfg, dict(headers or {}), is_canceled
        self._thread = _Thread()
        _running.add(self._thread)
        self._thread.start()
        self._thread.ready.wait()

    def get(self, address: str, headers: Mapping[str, str], with_credentials: bool, sink: Sink | None = None) -> Answer:
        """See Transport."""
        caller = self._thread.caller
        if caller is None:
            raise canceled()
        own = self._headers if with_credentials else {}
        answer: Future[Answer] = Future()
        caller.asked.emit(address, {**own, **headers}, self._authcfg if with_credentials else "", (answer, sink))
        while not wait([answer], POLL_SECONDS).done:
            if sink is not None:
                sink.tick()
            if self._is_canceled():
                self.stop()
            if self._thread.isFinished() and not answer.done():  # it came when nobody took requests any more
                raise canceled()
        return answer.result()

    def stop(self) -> None:
        """See Transport."""
        if self._thread.caller is not None:
            self._thread.caller.stopped.emit()
        self._thread.quit()
        if self._thread.wait(LONGEST_END):
            _running.discard(self._thread)


def authorization(authcfg: str) -> str:
    """What an authentication configuration has sent as Authorization, as GDAL takes it.

    Of nothing else: GDAL would take other headers along where a server sends it to another one.

    Raises:
        RasterError: The configuration cannot be opened, or works in another way.
    """
    request = QNetworkRequest(QUrl("https://localhost/"))
    if not QgsApplication.authManager().updateNetworkRequest(request, authcfg)[0]:
        raise RasterError(_unknown(authcfg))
    value = bytes(request.rawHeader(b"Authorization")).decode("latin-1")
    if not value:
        raise RasterError(
            tr("The authentication configuration {identifier} sends no Authorization, which is all that works for files on "
               "servers. Use one with user and password, or with a header of that name.", identifier=authcfg)
        )  # fmt: skip
    return f"Authorization: {value}"


class _Thread(QThread):
    """Runs the requests; timers work only in a thread of Qt's."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()
        self.caller: _Caller | None = None

    def run(self) -> None:
        caller = self.caller = _Caller()
        self.ready.set()
        self.exec()
        self.caller = None
        caller.stop()


class _Caller(QObject):
    """Lives in the thread; keeps the requests that are under way."""

    asked = pyqtSignal(str, dict, str, object)
    stopped = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self._manager = QgsNetworkAccessManager()
        self._waiting: dict[int, _Request] = {}
        self._numbers = itertools.count()
        self._is_stopped = False
        self.asked.connect(self._ask, Qt.ConnectionType.QueuedConnection)
        self.stopped.connect(self.stop, Qt.ConnectionType.QueuedConnection)

    @pyqtSlot(str, dict, str, object)
    def _ask(self, address: str, headers: Mapping[str, str], authcfg: str, answering: tuple[Future[Answer], Sink | None]) -> None:
        answer, sink = answering
        if self._is_stopped:
            answer.set_exception(canceled())
            return
        request = QNetworkRequest(QUrl(address))
        request.setTransferTimeout(TIMEOUT)
        # Redirects are the caller's, who knows what may be told to whom.
        request.setAttribute(
            QNetworkRequest.Attribute.RedirectPolicyAttribute, QNetworkRequest.RedirectPolicy.ManualRedirectPolicy
        )
        for name, value in headers.items():
            request.setRawHeader(name.encode(), value.encode())
        manager = QgsApplication.authManager()
        if authcfg and not manager.updateNetworkRequest(request, authcfg)[0]:
            answer.set_exception(RasterError(_unknown(authcfg)))
            return
        reply = self._manager.get(request)
        if authcfg:
            manager.updateNetworkReply(reply, authcfg)
        number = next(self._numbers)
        reply.setProperty(NUMBER, number)
        self._waiting[number] = _Request(reply, answer, sink)
        reply.finished.connect(self._finish)
        reply.readyRead.connect(self._pass_on)

    @pyqtSlot()
    def _pass_on(self) -> None:
        reply = self.sender()
        self._waiting[reply.property(NUMBER)].pass_on()

    @pyqtSlot()
    def _finish(self) -> None:
        reply = self.sender()
        self._waiting.pop(reply.property(NUMBER)).finish()
        reply.deleteLater()

    @pyqtSlot()
    def stop(self) -> None:
        self._is_stopped = True
        for request in list(self._waiting.values()):
            request.reply.abort()


@dataclass
class _Request:
    """One request and what comes of it."""

    reply: QNetworkReply
    answer: Future[Answer]
    sink: Sink | None
    has_begun: bool = False

    def pass_on(self) -> None:
        """Hand what has come to the sink, if it is what was asked for."""
        status = self._status()
        if self.sink is None and self.reply.bytesAvailable() > LARGEST_BODY:
            self.answer.set_exception(UnreachableError(tr("it sends more than {size} MiB", size=LARGEST_BODY >> 20)))
            self.reply.abort()
        if self.sink is None or status not in WHOLE_OR_PART or not self.reply.isOpen():
            return
        try:
            if not self.has_begun:
                self.has_begun = True
                self.sink.begin(status, self._headers())
            self.sink.write(bytes(self.reply.readAll()))
        except OSError as error:
            if not self.answer.done():
                reason = tr("What is downloaded cannot be written: {error}. Make room on the disk.", error=error)
                self.answer.set_exception(RasterError(reason))
            self.reply.abort()

    def finish(self) -> None:
        """Tell what has come of it."""
        status, reply = self._status(), self.reply
        is_whole = reply.error() == QNetworkReply.NetworkError.NoError or status >= 300  # noqa: PLR2004 - HTTP's errors
        if status and is_whole and reply.isOpen():
            self.pass_on()
        if self.answer.done():
            return
        if status and is_whole and reply.isOpen():
            self.answer.set_result(Answer(status, self._headers(), bytes(reply.readAll())))
        else:
            self.answer.set_exception(UnreachableError(reply.errorString()))

    def _status(self) -> int:
        return self.reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute) or 0

    def _headers(self) -> dict[str, str]:
        pairs = ((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in self.reply.rawHeaderPairs())
        return {name.lower(): value for name, value in pairs}


def _unknown(authcfg: str) -> str:
    return tr(
        "The authentication configuration {identifier} cannot be opened. Look for it in QGIS's options (Authentication).",
        identifier=authcfg,
    )
