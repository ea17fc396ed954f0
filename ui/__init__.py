"""What the pages are made of: session, head, router, components. The only Streamlit code beside `pages`."""
