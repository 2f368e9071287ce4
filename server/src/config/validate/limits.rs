//! Ranges of the numbers, as `whosthere.default.toml` states them.

use std::ops::RangeInclusive;

use super::Problem;
use crate::config::{AccountsConfig, Config, OrgQuotaConfig, WebhookConfig};

/// From silence to a lost connection: the contract's five minutes.
const TCP_LOSS_SECS_MAX: u64 = 300;

/// Every number out of its range, and TCP probes that take too long together.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems: Vec<Problem> = rules(config)
        .into_iter()
        .chain(accounts_rules(&config.accounts))
        .chain(quota_rules(config))
        .chain(webhook_rules(&config.webhook))
        .chain(session_rules(config))
        .filter(|(_, value, range)| !range.contains(value))
        .map(|(key, value, range)| {
            let (least, most) = range.into_inner();
            Problem::new(key, format!("is {value}; expected {least} to {most}"))
        })
        .collect();
    problems.extend(check_tcp_probes(config));
    problems
}

type Rule = (&'static str, u64, RangeInclusive<u64>);

fn rules(config: &Config) -> Vec<Rule> {
    let (mqtt, http) = (&config.mqtt, &config.http);
    let kib = 1024;
    let gib = 1 << 30;
    vec![
        ("workers", config.workers as u64, 0..=1024),
        (
            "mqtt.connect_timeout_secs",
            mqtt.connect_timeout_secs,
            1..=300,
        ),
        (
            "mqtt.keep_alive_secs_max",
            mqtt.keep_alive_secs_max.into(),
            1..=200,
        ),
        (
            "journal.opens_waiting_max",
            config.journal.opens_waiting_max as u64,
            1..=1_000_000,
        ),
        (
            "journal.rush_wait_micros",
            config.journal.rush_wait_micros,
            0..=10_000,
        ),
        (
            "journal.segment_bytes",
            config.journal.segment_bytes,
            1 << 20..=gib,
        ),
        (
            "journal.retention_days",
            config.journal.retention_days,
            0..=3650,
        ),
        (
            "journal.retention_bytes",
            config.journal.retention_bytes,
            0..=1 << 44,
        ),
        (
            "mqtt.connect_bytes_max",
            mqtt.connect_bytes_max.into(),
            kib..=268_435_455,
        ),
        (
            "mqtt.packet_bytes_max",
            mqtt.packet_bytes_max.into(),
            kib..=268_435_455,
        ),
        (
            "mqtt.topic_levels_max",
            mqtt.topic_levels_max as u64,
            1..=65_535,
        ),
        ("mqtt.receive_max", mqtt.receive_max.into(), 1..=65_535),
        ("mqtt.inflight_max", mqtt.inflight_max.into(), 1..=65_535),
        (
            "mqtt.queue_messages_max",
            mqtt.queue_messages_max as u64,
            1..=1_000_000,
        ),
        (
            "mqtt.queue_bytes_max",
            mqtt.queue_bytes_max as u64,
            kib..=gib,
        ),
        (
            "mqtt.outbound_bytes_max",
            mqtt.outbound_bytes_max as u64,
            kib..=gib,
        ),
        (
            "mqtt.topic_alias_max",
            mqtt.topic_alias_max.into(),
            0..=65_535,
        ),
        (
            "mqtt.topic_alias_sent_max",
            mqtt.topic_alias_sent_max.into(),
            0..=65_535,
        ),
        (
            "mqtt.filters_per_packet_max",
            mqtt.filters_per_packet_max as u64,
            1..=65_535,
        ),
        (
            "mqtt.subscriptions_per_session_max",
            mqtt.subscriptions_per_session_max.into(),
            1..=65_535,
        ),
        (
            "mqtt.connections_max",
            mqtt.connections_max as u64,
            0..=10_000_000,
        ),
        (
            "mqtt.refusals_max",
            config.mqtt.refusals_max as u64,
            0..=65_536,
        ),
        (
            "mqtt.mailbox_deliveries_max",
            mqtt.mailbox_deliveries_max as u64,
            1..=1 << 24,
        ),
        (
            "mqtt.listen_backlog",
            mqtt.listen_backlog.into(),
            1..=65_535,
        ),
        (
            "mqtt.tcp_keep_alive_idle_secs",
            mqtt.tcp_keep_alive_idle_secs,
            1..=299,
        ),
        (
            "mqtt.tcp_keep_alive_interval_secs",
            mqtt.tcp_keep_alive_interval_secs,
            1..=299,
        ),
        (
            "mqtt.tcp_keep_alive_probes",
            mqtt.tcp_keep_alive_probes.into(),
            1..=20,
        ),
        (
            "tls.handshake_bytes_max",
            config.tls.handshake_bytes_max as u64,
            16 * kib..=1 << 20,
        ),
        ("tls.reload_secs", config.tls.reload_secs, 1..=86_400),
        (
            "http.connections_max",
            http.connections_max as u64,
            1..=1_000_000,
        ),
        (
            "http.header_bytes_max",
            http.header_bytes_max as u64,
            8192..=1 << 20,
        ),
        (
            "http.header_timeout_secs",
            http.header_timeout_secs,
            1..=300,
        ),
        ("http.body_bytes_max", http.body_bytes_max, 0..=16 << 20),
        ("http.stall_timeout_secs", http.stall_timeout_secs, 1..=600),
        ("http.drain_timeout_secs", http.drain_timeout_secs, 0..=600),
        ("http.listings_max", http.listings_max as u64, 1..=10_000),
        ("http.events_wait_secs", http.events_wait_secs, 0..=300),
        (
            "http.page_rows_max",
            http.page_rows_max as u64,
            1..=1_000_000,
        ),
    ]
}

fn quota_rules(config: &Config) -> Vec<Rule> {
    let quota = &config.quota;
    let mut rules: Vec<Rule> = vec![
        (
            "quota.org_connections_max",
            quota.org_connections_max.into(),
            0..=10_000_000,
        ),
        (
            "quota.org_connects_per_sec",
            quota.org_connects_per_sec.into(),
            0..=1_000_000,
        ),
        (
            "quota.org_messages_per_sec",
            quota.org_messages_per_sec.into(),
            0..=1_000_000,
        ),
    ];
    for org in &config.orgs {
        rules.extend(org_quota_rules(config, &org.quota));
    }
    rules
}

/// Of one organisation: not more than the server has for a session, or can count.
fn org_quota_rules(config: &Config, own: &OrgQuotaConfig) -> Vec<Rule> {
    let mqtt = &config.mqtt;
    let rules: [(&'static str, Option<u64>, RangeInclusive<u64>); 9] = [
        (
            "org.quota.connections_max",
            own.connections_max.map(Into::into),
            0..=10_000_000,
        ),
        (
            "org.quota.connects_per_sec",
            own.connects_per_sec.map(Into::into),
            0..=1_000_000,
        ),
        (
            "org.quota.messages_per_sec",
            own.messages_per_sec.map(Into::into),
            0..=1_000_000,
        ),
        (
            "org.quota.retained_messages_max",
            own.retained_messages_max.map(|most| most as u64),
            0..=config.retained.messages_max as u64,
        ),
        (
            "org.quota.retained_bytes_max",
            own.retained_bytes_max.map(|most| most as u64),
            0..=config.retained.bytes_max as u64,
        ),
        (
            "org.quota.subscriptions_per_session_max",
            own.subscriptions_per_session_max.map(Into::into),
            1..=mqtt.subscriptions_per_session_max.into(),
        ),
        (
            "org.quota.queue_messages_max",
            own.queue_messages_max.map(Into::into),
            1..=mqtt.queue_messages_max as u64,
        ),
        (
            "org.quota.queue_bytes_max",
            own.queue_bytes_max.map(Into::into),
            1024..=mqtt.queue_bytes_max as u64,
        ),
        (
            "org.quota.packet_bytes_max",
            own.packet_bytes_max.map(Into::into),
            1024..=mqtt.packet_bytes_max.into(),
        ),
    ];
    let given = rules.into_iter();
    given
        .filter_map(|(key, value, range)| Some((key, value?, range)))
        .collect()
}

fn accounts_rules(accounts: &AccountsConfig) -> Vec<Rule> {
    vec![
        ("accounts.verifiers", accounts.verifiers as u64, 0..=256),
        (
            "accounts.verify_waiting_max",
            accounts.verify_waiting_max as u64,
            1..=1_000_000,
        ),
        (
            "accounts.hash_memory_kib_max",
            accounts.hash_memory_kib_max.into(),
            8..=1 << 22,
        ),
        (
            "accounts.hash_work_kib_min",
            accounts.hash_work_kib_min,
            8..=1 << 22,
        ),
        (
            "accounts.hash_work_kib_max",
            accounts.hash_work_kib_max,
            8..=1 << 30,
        ),
        (
            "accounts.known_passwords_max",
            accounts.known_passwords_max as u64,
            0..=10_000_000,
        ),
        (
            "accounts.known_password_secs",
            accounts.known_password_secs,
            1..=86_400,
        ),
        (
            "accounts.guess_address_max",
            accounts.guess_address_max.into(),
            0..=1_000_000,
        ),
        (
            "accounts.guess_user_max",
            accounts.guess_user_max.into(),
            0..=1_000_000,
        ),
        (
            "accounts.guess_window_secs",
            accounts.guess_window_secs.into(),
            1..=86_400,
        ),
        (
            "accounts.guess_entries_max",
            accounts.guess_entries_max as u64,
            16..=1 << 24,
        ),
        (
            "accounts.token_topics_max",
            accounts.token_topics_max as u64,
            0..=65_535,
        ),
        (
            "accounts.token_names_max",
            accounts.token_names_max as u64,
            0..=10_000_000,
        ),
        (
            "accounts.jwks_deadline_secs",
            accounts.jwks_deadline_secs,
            1..=120,
        ),
        (
            "accounts.jwks_bytes_max",
            accounts.jwks_bytes_max as u64,
            1024..=16 << 20,
        ),
        (
            "accounts.jwks_lifetime_secs",
            accounts.jwks_lifetime_secs,
            1..=604_800,
        ),
        (
            "accounts.jwks_retry_secs",
            accounts.jwks_retry_secs,
            1..=3600,
        ),
    ]
}

fn session_rules(config: &Config) -> Vec<Rule> {
    let (sessions, retained) = (&config.sessions, &config.retained);
    let (kib, gib) = (1024, 1 << 30);
    vec![
        (
            "sessions.stored_max",
            sessions.stored_max as u64,
            0..=10_000_000,
        ),
        (
            "sessions.queue_messages_max",
            sessions.queue_messages_max as u64,
            1..=60_000,
        ),
        (
            "sessions.queue_bytes_max",
            sessions.queue_bytes_max,
            kib..=gib,
        ),
        ("sessions.window", sessions.window as u64, 1..=60_000),
        (
            "sessions.requests_waiting_max",
            sessions.requests_waiting_max as u64,
            1..=1 << 24,
        ),
        (
            "sessions.requests_bytes_max",
            sessions.requests_bytes_max as u64,
            kib..=64 * gib,
        ),
        (
            "sessions.memory_bytes_max",
            sessions.memory_bytes_max as u64,
            kib..=64 * gib,
        ),
        (
            "sessions.segment_bytes",
            sessions.segment_bytes,
            1 << 20..=gib,
        ),
        (
            "retained.messages_max",
            retained.messages_max as u64,
            0..=10_000_000,
        ),
        (
            "retained.bytes_max",
            retained.bytes_max as u64,
            0..=64 * gib,
        ),
        (
            "retained.subscriptions_waiting_max",
            retained.subscriptions_waiting_max as u64,
            1..=65_535,
        ),
    ]
}

fn webhook_rules(webhook: &WebhookConfig) -> Vec<Rule> {
    vec![
        ("webhook.deadline_secs", webhook.deadline_secs, 1..=120),
        (
            "webhook.answer_bytes_max",
            webhook.answer_bytes_max as u64,
            0..=1 << 20,
        ),
        ("webhook.concurrency", webhook.concurrency as u64, 1..=1024),
        (
            "webhook.waiting_max",
            webhook.waiting_max as u64,
            1..=1_000_000,
        ),
        ("webhook.held_max", webhook.held_max as u64, 1..=10_000_000),
        ("webhook.pause_secs_min", webhook.pause_secs_min, 1..=3600),
        ("webhook.pause_secs_max", webhook.pause_secs_max, 1..=86_400),
        (
            "webhook.retry_after_secs_max",
            webhook.retry_after_secs_max,
            1..=86_400,
        ),
        ("webhook.expiry_hours", webhook.expiry_hours, 1..=8760),
        ("webhook.drain_secs", webhook.drain_secs, 0..=600),
    ]
}

fn check_tcp_probes(config: &Config) -> Option<Problem> {
    let mqtt = &config.mqtt;
    let probing_secs = mqtt
        .tcp_keep_alive_interval_secs
        .saturating_mul(mqtt.tcp_keep_alive_probes.into());
    let loss_secs = mqtt.tcp_keep_alive_idle_secs.saturating_add(probing_secs);
    (loss_secs > TCP_LOSS_SECS_MAX).then(|| {
        Problem::new(
            "mqtt.tcp_keep_alive_idle_secs",
            format!(
                "plus `mqtt.tcp_keep_alive_interval_secs` times `mqtt.tcp_keep_alive_probes` is \
                 {loss_secs}; a lost connection must be noticed within {TCP_LOSS_SECS_MAX} seconds"
            ),
        )
    })
}
