"""Carries requests through QGIS's network access manager: its proxies, certificates and authentication configurations count."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from concurrent.futures import Future

from qgis.core import QgsApplication, QgsNetworkAccessManager
from qgis.PyQt.QtCore import QObject, Qt, QThread, QUrl, pyqtSignal, pyqtSlot
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest

from ..inference.errors import Cancelled, RasterError
from ..inference.services.fetching import Answer, UnreachableError
from ..inference.translation import tr

NUMBER = "dlpk_number"
"""Property of a reply that tells whose it is."""
TIMEOUT = 30_000
"""Milliseconds that a server may be silent."""
LONGEST_END = 5_000
"""Milliseconds that requests may take to end."""


class Network:
    """A Transport with a thread of its own, in which all requests run side by side.

    It uses a manager of its own: QGIS's for a thread asks the main thread for a password when a server wants one, and waits
    for ever where that thread runs the algorithm itself, as in qgis_process.
    """

    def __init__(self, authcfg: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Start the thread.

        Args:
            authcfg: Authentication configuration of QGIS; empty for none.
            headers: Sent with all requests that may carry credentials, such as a layer's own referer or password.
        """
        self._authcfg, self._headers = authcfg, dict(headers or {})
        self._thread = _Thread()
        self._thread.start()
        self._thread.ready.wait()

    def get(self, address: str, headers: Mapping[str, str], with_credentials: bool) -> Answer:
        """See Transport."""
        caller = self._thread.caller
        if caller is None:
            raise _stopped()
        own = self._headers if with_credentials else {}
        answer: Future[Answer] = Future()
        caller.asked.emit(address, {**own, **headers}, self._authcfg if with_credentials else "", answer)
        return answer.result()

    def stop(self) -> None:
        """See Transport."""
        if self._thread.caller is not None:
            self._thread.caller.stopped.emit()
        self._thread.quit()
        self._thread.wait(LONGEST_END)  # a thread that runs may not be destroyed


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
        self._waiting: dict[int, tuple[QNetworkReply, Future[Answer]]] = {}
        self._numbers = itertools.count()
        self._is_stopped = False
        self.asked.connect(self._ask, Qt.ConnectionType.QueuedConnection)
        self.stopped.connect(self.stop, Qt.ConnectionType.QueuedConnection)

    @pyqtSlot(str, dict, str, object)
    def _ask(self, address: str, headers: Mapping[str, str], authcfg: str, answer: Future[Answer]) -> None:
        if self._is_stopped:
            answer.set_exception(_stopped())
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
        self._waiting[number] = reply, answer
        reply.finished.connect(self._finish)

    @pyqtSlot()
    def _finish(self) -> None:
        reply = self.sender()
        _, answer = self._waiting.pop(reply.property(NUMBER))
        status = reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute)
        is_whole = reply.error() == QNetworkReply.NetworkError.NoError or (status or 0) >= 300  # noqa: PLR2004 - HTTP's errors
        if status is not None and is_whole and reply.isOpen():
            pairs = ((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in reply.rawHeaderPairs())
            headers = {name.lower(): value for name, value in pairs}
            answer.set_result(Answer(int(status), headers, bytes(reply.readAll())))
        else:
            answer.set_exception(UnreachableError(reply.errorString()))
        reply.deleteLater()

    @pyqtSlot()
    def stop(self) -> None:
        self._is_stopped = True
        for reply, _ in list(self._waiting.values()):
            reply.abort()


def _stopped() -> Cancelled:
    return Cancelled(tr("The run was cancelled. No output was written."))


def _unknown(authcfg: str) -> str:
    return tr(
        "The authentication configuration {identifier} cannot be opened. Look for it in QGIS's options (Authentication).",
        identifier=authcfg,
    )
