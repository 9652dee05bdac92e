//! Listeners, router, pages, API handlers, sessions.
