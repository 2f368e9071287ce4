//! Who is online: sessions, users and their subscriptions in one index per organisation.
