"""A person's own account."""

from __future__ import annotations

import streamlit as st

from ui import account
from ui.session import current_identity, require_login, services

user = require_login()
product = services()
account.render_said()
with st.container(horizontal_alignment="center"), st.container(key="settings", width=880):
    st.title("Account", anchor=False)
    account.render_usage(product.videos.get_usage(user.id))
    account.render_name(product, user)
    account.render_password(product, user)
    account.render_defaults(product, user)
    if identity := current_identity():
        account.render_sessions(product, user, identity.session)
    account.render_deletion(product, user)
