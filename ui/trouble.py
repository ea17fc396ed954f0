"""What a person sees when something goes wrong: one sentence. The cause goes to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit.errors import FragmentHandledException

from jobs.errors import DomainError, StorageError, StoreUnavailable
from jobs.log import about

logger = logging.getLogger(__name__)

UNEXPECTED = (
    "Something broke on our side. Your videos are safe. Reload the page; if it breaks again, tell the administrator."
)


@contextmanager
def contained(user_id: str = "") -> Iterator[None]:
    """Run a page or a fragment; whatever it raises ends here, as one sentence on the page."""
    try:
        yield
    except FragmentHandledException:
        return
    except (StoreUnavailable, StorageError) as error:
        _log(user_id, "a page could not be shown: %s", error.detail or error.code)
        st.warning(error.message)
    except DomainError as error:
        logger.info("a page said no: %s", error.code)
        st.info(error.message)
    except Exception:  # noqa: BLE001 - nobody is ever shown a traceback; the log has it
        _log(user_id, "a page broke")
        st.error(UNEXPECTED)


def _log(user_id: str, message: str, *values: object) -> None:
    with about(**({"user_id": user_id} if user_id else {})):
        logger.error(message, *values, exc_info=True)
