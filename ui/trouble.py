"""What a person sees when something goes wrong: one sentence. The cause goes to the log.

Where only a service is away, the page comes back by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import streamlit as st
from streamlit.errors import FragmentHandledException

from jobs.errors import DomainError, StorageError, StoreUnavailable
from jobs.log import about

logger = logging.getLogger(__name__)

UNEXPECTED = (
    "Something broke on our side. Your videos are safe. Reload the page; if it breaks again, tell the administrator."
)
AGAIN_S = 4
"""Between two looks whether a service is back."""


@contextmanager
def contained(user_id: str = "") -> Iterator[None]:
    """Run a page or a fragment; whatever it raises ends here, as one sentence on the page."""
    try:
        yield
    except FragmentHandledException:
        return
    except (StoreUnavailable, StorageError) as error:
        with _person(user_id):
            logger.warning("a page could not be shown: %s", error.detail or error.code)
        st.warning(error.message)
        _come_back()
    except DomainError as error:
        logger.info("a page said no: %s", error.code)
        st.info(error.message)
    except Exception:  # nobody is ever shown a traceback; the log has it
        with _person(user_id):
            logger.exception("a page broke")
        st.error(UNEXPECTED)


def _come_back() -> None:
    """Run the whole page again in a few seconds."""
    is_drawn = False

    def wait() -> None:
        nonlocal is_drawn
        if is_drawn:  # the first time is now, with the page that failed
            st.rerun()
        is_drawn = True

    st.fragment(wait, run_every=AGAIN_S)()


def _person(user_id: str) -> AbstractContextManager[None]:
    return about(**({"user_id": user_id} if user_id else {}))
