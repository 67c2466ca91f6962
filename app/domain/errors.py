"""Why a render can fail.

RenderError
├── PermanentError               a retry cannot help; the render fails now
│   ├── InvalidRequestError      the request breaks a rule
│   │   └── LimitExceededError   the request is well formed but larger than this installation allows
│   ├── AdmissionError           no worker can serve it, or the line is full; carries a code
│   ├── InvalidPlanError         tile, overlap or phase numbers that cannot be planned
│   ├── UnsupportedError         asks for something this version or model cannot do
│   ├── ConfigurationError       a setting is wrong or contradicts the machine
│   ├── ModelError               model files missing, changed or of a refused kind
│   ├── CorruptBlobError         stored bytes or a picture file are damaged
│   ├── NotFoundError            a job, blob or picture that is not there
│   ├── RenderFailedError        a stage failed for good; carries its reason
│   └── RenderCancelledError     the job was cancelled
└── TransientError               another attempt may succeed; it is made
    ├── StorageUnavailableError  the blob store does not answer
    │   └── StorageFullError         it answers, and has no room
    ├── BrokerUnavailableError   RabbitMQ or the results backend does not answer
    └── DeviceOutOfMemoryError   the device has too little memory for this batch
"""


class RenderError(Exception):
    """Any failure tilechord reports in its own words."""


class PermanentError(RenderError):
    """A retry cannot help."""


class InvalidRequestError(PermanentError):
    """The request breaks a rule."""


class LimitExceededError(InvalidRequestError):
    """The request is larger than this installation allows."""


class AdmissionError(PermanentError):
    """The job is not taken: no worker can serve it, or too much is waiting.

    *reason* is a code for programs; *may_pass* says whether the same request may be taken later,
    *retry_s* after how many seconds, where that is known.
    """

    def __init__(
        self,
        sentence: str,
        reason: str = "",
        *,
        may_pass: bool = False,
        retry_s: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.may_pass = may_pass
        self.retry_s = retry_s


class InvalidPlanError(PermanentError):
    """Tile, overlap or phase numbers cannot be planned."""


class UnsupportedError(PermanentError):
    """This version or model cannot do what is asked."""


class ConfigurationError(PermanentError):
    """A setting is wrong or contradicts the machine."""


class ModelError(PermanentError):
    """Model files are missing, changed or of a refused kind."""


class CorruptBlobError(PermanentError):
    """Stored bytes or a picture file are damaged."""


class NotFoundError(PermanentError):
    """A job, blob or picture is not there."""


class RenderFailedError(PermanentError):
    """A stage failed for good."""


class RenderCancelledError(PermanentError):
    """The job was cancelled."""


class TransientError(RenderError):
    """Another attempt may succeed."""


class StorageUnavailableError(TransientError):
    """The blob store does not answer."""


class StorageFullError(StorageUnavailableError):
    """There is no room for what is to be written; a person has to make some."""


class BrokerUnavailableError(TransientError):
    """RabbitMQ or the results backend does not answer."""


class DeviceOutOfMemoryError(TransientError):
    """The device has too little memory for this batch."""


def is_outage(error: Exception) -> bool:
    """Whether *error* says nothing about the work: a server is away, and comes back by itself."""
    is_away = isinstance(error, (StorageUnavailableError, BrokerUnavailableError))
    return is_away and not isinstance(error, StorageFullError)


def reason_of(error: Exception) -> str:
    """What a person is told of *error*: its own sentence, or that it is a bug."""
    return str(error) if isinstance(error, RenderError) else f"internal error: {error!r}"
